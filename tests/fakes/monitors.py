"""A monitor's world for tests: a real store, a fake generator and a fake encoder behind real gRPC."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from services.common.artifacts import ArtifactStore
from services.common.pb.embedder.v1 import embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.monitor.leading import Monitoring
from services.orchestrator.monitor.live.judging import LiveJudge
from services.orchestrator.monitor.measurer import Measurer
from services.orchestrator.monitor.opening import Opener
from services.orchestrator.monitor.records import Alarm, Measurement, Monitor
from services.orchestrator.monitor.service import Monitors
from services.orchestrator.monitor.sources import RouteSource
from services.orchestrator.records import RunRecord
from services.orchestrator.store import SqlRunStore
from tests.fakes.fake_embedder import FakeEmbedder
from tests.fakes.fake_generator import FakeGenerator
from tests.fakes.orchestrator import migrated_store
from tests.fakes.servers import grpc_channel
from tests.fakes.studies import study_json

ROUTE = "valign"
_GENERATOR = "valign.generator.v1.GeneratorService"
_EMBEDDER = "valign.embedder.v1.EmbedderService"


def monitor_text(**changes: Any) -> str:
    """A monitor of the test studies' sets, which the fake generator understands."""
    study = study_json()
    document: dict[str, Any] = {
        "name": "public-name",
        "target": {"route": ROUTE},
        **{name: study[name] for name in ("topics", "reference_set", "prompt_set")},
        "schedule": "0 * * * *",
        "samples": {"prompts_per_topic": 6},
        "alarms": {"permutations": 499, "clear_after": 2},
    }
    return json.dumps(document | changes)


@dataclass
class Watch:
    """One leader's monitoring, a step at a time."""

    store: SqlRunStore
    generator: FakeGenerator
    embedder: FakeEmbedder
    monitors: Monitors
    monitoring: Monitoring
    opened: list[tuple[str, str]]
    artifacts: ArtifactStore
    to_generator: grpc.aio.Channel

    def serve(self, adapter: str) -> None:
        """The generator serves another adapter under the name, whatever the registry knows."""
        if adapter:
            self.generator.adapters.setdefault(adapter, (adapter.encode().hex() * 64)[:64])
        version = self.generator.routes[ROUTE].version + 1 if ROUTE in self.generator.routes else 1
        self.generator.routes[ROUTE] = pb.Route(name=ROUTE, adapter=adapter, version=version)

    async def step(self, now: datetime | None = None) -> None:
        """One look of the leader, and what begins with it to its end."""
        await self.monitoring.step(now)
        await self.monitoring.settled()

    async def period(self, monitor: Monitor) -> Measurement:
        """The schedule's next moment has come."""
        found = await self.monitors.get(monitor.monitor_id)
        await self.step(max(found.next_time, datetime.now(UTC)))
        return (await self.monitors.measurements(monitor.monitor_id))[0][0]

    async def alarms(self, monitor: Monitor) -> list[Alarm]:
        """Newest first."""
        return (await self.monitors.alarms(monitor.monitor_id))[0]


@asynccontextmanager
async def watch(folder: Path, **options: Any) -> AsyncIterator[Watch]:
    """A new world in a folder; the route serves the base model."""
    store, _ = migrated_store(folder)
    generator, embedder = FakeGenerator(), FakeEmbedder()
    opened: list[tuple[str, str]] = []
    artifacts = ArtifactStore(str(folder / "artifacts"))

    async def create_run(study: str, key: str) -> tuple[RunRecord, bool]:
        opened.append((study, key))
        return store.create_run("r-20261126-aaaaaa", "again", json.loads(study), key)

    async with (
        grpc_channel(
            lambda server: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(generator, server),
            _GENERATOR,
        ) as to_generator,
        grpc_channel(
            lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(embedder, server),
            _EMBEDDER,
        ) as to_embedder,
    ):
        patience = Patience(wait_s=0.2)
        measuring, monitors = store.platform.measuring, store.platform.monitors
        measurer = Measurer(
            measuring,
            store.registry,
            lambda document: RouteSource(GrpcGenerator(to_generator, patience), document["target"]["route"]),
            GrpcEmbedder(to_embedder, patience),
        )
        world = Watch(
            store,
            generator,
            embedder,
            Monitors(monitors, artifacts, EndpointHosts(None)),
            Monitoring(
                monitors,
                measuring,
                store.registry,
                measurer,
                Opener(measuring, create_run),
                LiveJudge(store.platform.live, store.registry, GrpcEmbedder(to_embedder, patience)),
                **options,
            ),
            opened,
            artifacts,
            to_generator,
        )
        world.serve("")
        yield world
    store.close()
