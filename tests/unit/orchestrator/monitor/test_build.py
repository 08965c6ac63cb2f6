"""Monitors as the orchestrator builds them: the leader's task, an endpoint, its key, and the metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError
from services.common.pb.embedder.v1 import embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2_grpc
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.traffic import GrpcTraffic
from services.orchestrator.monitor.build import MonitorTasks
from services.orchestrator.monitor.records import Measurement, MeasurementState
from services.orchestrator.settings import OrchestratorSettings
from tests.fakes.fake_embedder import FakeEmbedder
from tests.fakes.fake_generator import ALIGNED_WORDS, FakeGenerator
from tests.fakes.fake_openai import MODEL, FakeOpenAI
from tests.fakes.monitors import monitor_text
from tests.fakes.orchestrator import migrated_store
from tests.fakes.servers import grpc_channel, http_server


@asynccontextmanager
async def leading(folder: Path, **settings: Any) -> AsyncIterator[MonitorTasks]:
    """The parts as they are built, and their leader."""
    store, _ = migrated_store(folder)
    generator, embedder = FakeGenerator(), FakeEmbedder()
    async with (
        grpc_channel(
            lambda server: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(generator, server),
            "valign.generator.v1.GeneratorService",
        ) as to_generator,
        grpc_channel(
            lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(embedder, server),
            "valign.embedder.v1.EmbedderService",
        ) as to_embedder,
    ):
        tasks = MonitorTasks(
            OrchestratorSettings(home=folder, monitor_wait_s=0.1, **settings),
            store,
            ArtifactStore(str(folder / "artifacts")),
            lambda patience: GrpcGenerator(to_generator, patience),
            GrpcEmbedder(to_embedder),
            [GrpcTraffic("fake", to_generator)],
            GrpcEmbedder(to_embedder),
        )
        epoch = store.leases.acquire("me", None)
        assert epoch is not None
        task = asyncio.create_task(tasks.lead(epoch))
        yield tasks
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    store.close()


async def ended(tasks: MonitorTasks, monitor_id: str, number: int) -> Measurement:
    """A measurement once it has ended."""
    async with asyncio.timeout(20):
        while True:
            with suppress(Exception):
                found = await tasks.monitors.measurement(monitor_id, number)
                if found.state in (MeasurementState.SUCCEEDED, MeasurementState.FAILED):
                    return found
            await asyncio.sleep(0.02)


async def told(check: Callable[[], bool]) -> None:
    """Until the metrics say so: the leader looks each second."""
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.05)


async def test_model_behind_an_endpoint_that_is_exchanged_is_drift(tmp_path: Path) -> None:
    endpoint = FakeOpenAI()
    async with leading(tmp_path) as tasks, http_server(endpoint.app()) as url:
        target = {"endpoint": {"url": f"{url}/v1", "model": MODEL}}
        monitor = await tasks.monitors.create(monitor_text(target=target))
        baseline = await ended(tasks, monitor.monitor_id, 1)
        assert baseline.outcome == "baseline", baseline.message
        endpoint.words = ALIGNED_WORDS
        await tasks.monitors.measure(monitor.monitor_id)
        found = await ended(tasks, monitor.monitor_id, 2)
        assert found.outcome == "drift", found.message


async def test_series_of_a_deleted_monitor_are_removed(tmp_path: Path) -> None:
    def drift(monitor_id: str) -> float | None:
        return REGISTRY.get_sample_value("valign_monitor_drift", {"monitor": monitor_id})

    def failed(monitor_id: str) -> float | None:
        labels = {"monitor": monitor_id, "outcome": "failed"}
        return REGISTRY.get_sample_value("valign_monitor_measurements_total", labels)

    async with leading(tmp_path) as tasks:
        # The generator has no such route: the baseline fails with the reason.
        monitor = await tasks.monitors.create(monitor_text())
        found = await ended(tasks, monitor.monitor_id, 1)
        assert found.state is MeasurementState.FAILED
        assert "valign" in found.message
        await told(lambda: failed(monitor.monitor_id) == 1 and drift(monitor.monitor_id) == 0)
        await tasks.monitors.delete(monitor.monitor_id)
        await told(lambda: drift(monitor.monitor_id) is None and failed(monitor.monitor_id) is None)


async def test_endpoint_whose_host_is_not_allowed_is_refused(tmp_path: Path) -> None:
    async with leading(tmp_path, endpoint_hosts=("api.example.org",)) as tasks:
        target = {"endpoint": {"url": "http://127.0.0.1:9/v1", "model": "m"}}
        with pytest.raises(InvalidInputError, match="ENDPOINT_HOSTS"):
            await tasks.monitors.create(monitor_text(target=target))
