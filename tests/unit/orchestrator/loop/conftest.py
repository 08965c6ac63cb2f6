"""A loop on fakes: real SQLite, real artifact folder, real gRPC to fake services."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.common.rpc.client import open_channel
from services.orchestrator.analysis import compute
from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.trainer import GrpcTrainer
from services.orchestrator.loop import appraise, ending, reporting
from services.orchestrator.loop.analyst import Analyse
from services.orchestrator.loop.context import RunContext, Services
from services.orchestrator.loop.journal import Journal
from services.orchestrator.loop.steps import Envelope
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import RunStatus
from services.orchestrator.report.schema import Report
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.study import Study, resolve
from tests.fakes.fake_services import FakeServices, fake_services


@contextlib.asynccontextmanager
async def in_this_process() -> AsyncIterator[Analyse]:
    """The analysis without its process."""

    async def analyse(evidence: bytes) -> bytes:
        found = await asyncio.to_thread(lambda: compute.analyse(unpack_evidence(evidence)))
        return found.model_dump_json().encode()

    yield analyse


@dataclass
class World:
    """Everything that a run needs, and ways to look at what it did."""

    folder: Path
    fakes: FakeServices
    store: SqlRunStore
    artifacts: ArtifactStore
    channel: grpc.aio.Channel
    second: grpc.aio.Channel | None = None
    recorded: dict[str, Envelope] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    loads_before: dict[str, list[str]] = field(default_factory=dict)
    """Adapters that were loaded, in order, before each step."""

    def connect(
        self, study: Study, on_waiting: Callable[[str, str], None], served: Mapping[str, str]
    ) -> Services:
        patience = Patience(wait_s=5.0, call_s=5.0)
        return Services(
            GrpcGenerator(self.channel, patience, on_waiting),
            GrpcEmbedder(self.channel, patience, on_waiting),
            GrpcTrainer(self.channel, self.artifacts, patience, on_waiting),
            GrpcEmbedder(self.second, patience, on_waiting, "second embedder") if self.second else None,
        )

    def context(self, study: dict[str, Any], run_id: str = "r-1") -> RunContext:
        """A context of the run, as a new process would build it."""
        with contextlib.suppress(ValignError):
            self.store.create_run(run_id, study["name"], study)
        self.store.update_run(run_id, status=RunStatus.RUNNING)
        journal = Journal(self.store, run_id)

        def on_waiting(service: str, reason: str) -> None:
            journal.emit("service.waiting", service=service, reason=reason)

        resolved = resolve(Study.model_validate(study))
        return RunContext(
            run_id=run_id,
            resolved=resolved,
            services=self.connect(resolved.study, on_waiting, {}),
            store=self.store,
            artifacts=self.artifacts,
            journal=journal,
            cancelled=asyncio.Event(),
        )

    async def record(self, name: str, body: Callable[[], Awaitable[Envelope]]) -> Envelope:
        """What DBOS does: a recorded step is not run again."""
        if name not in self.recorded:
            self.executed.append(name)
            self.loads_before[name] = list(self.fakes.generator.loads)
            self.recorded[name] = await body()
        return self.recorded[name]

    async def run(self, ctx: RunContext) -> None:
        """The whole run, to its end in the store."""
        try:
            result = await realign_model(ctx, self.record)
        except ValignError as error:
            await ending.failed(ctx, error)
        else:
            await ending.succeeded(ctx, result)

    def drawn_twice(self) -> list[str]:
        """Completions (not scores) that the generator was asked for more than once, over all arms."""
        asked = self.fakes.generator.asked
        return [key for key, count in asked.items() if count > 1 and "|score|" not in key]

    def events(self, kind: str = "", run_id: str = "r-1") -> list[Any]:
        found = self.store.events(run_id, limit=10_000)
        return [event for event in found if not kind or event.kind == kind]

    def report(self, run_id: str = "r-1") -> Report:
        run = self.store.get_run(run_id)
        assert run.status is RunStatus.SUCCEEDED, f"{run.error_code}: {run.error_message}"
        return Report.model_validate_json(self.artifacts.get_bytes(run.report_uri))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    # Drawing the figures takes seconds; tests/chaos and tests/integration have the real page.
    monkeypatch.setattr(reporting, "render_html", lambda report: f"<!doctype html>{report.run_id}")
    # A process of its own imports for seconds; tests/unit/orchestrator/loop/test_analyst.py has it.
    monkeypatch.setattr(appraise, "analyst", in_this_process)
    store = SqlRunStore(f"sqlite:///{tmp_path}/runs.db")
    store.migrate()
    async with fake_services() as fakes, open_channel(fakes.target) as channel:
        yield World(tmp_path, fakes, store, ArtifactStore(str(tmp_path / "artifacts")), channel)
    store.close()


@pytest.fixture
async def world_with_second(world: World) -> AsyncIterator[tuple[World, FakeServices]]:
    """The world, and a second embedder in a server of its own."""
    async with fake_services() as second, open_channel(second.target) as channel:
        second.embedder.model, second.embedder.fingerprint = "fake/other-encoder", "5" * 64
        world.second = channel
        yield world, second
