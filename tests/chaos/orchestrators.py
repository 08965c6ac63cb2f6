"""The orchestrator as a process on an SQLite file, for tests of one fault each."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from services.orchestrator.store import SqlRunStore
from tests.chaos.campaign.comparing import Result, result_from
from tests.chaos.campaign.processes import Service, answer_of, free_port, ready

_ENDED = ("succeeded", "failed", "cancelled")


class Orchestrator:
    """One process; ``targets`` by service, ``settings`` and ``environment`` beside the usual ones."""

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        port = free_port()
        named = {
            "HOME": str(folder),
            "PORT": str(free_port()),
            "HTTP_PORT": str(port),
            "WAIT_FOR_SERVICES_S": "120",
            **{f"{name.upper()}_TARGET": target for name, target in targets.items()},
            **(settings or {}),
        }
        self.service = Service(
            "orchestrator",
            ["services.orchestrator"],
            {f"VALIGN_ORCHESTRATOR_{name}": value for name, value in named.items()} | dict(environment or {}),
            lambda: ready(port),
            log or folder / "orchestrator.log",
        )
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.service.start()
        await asyncio.to_thread(self.service.wait_ready)

    async def terminate(self) -> int:
        """SIGTERM; the exit status."""
        assert self.service.process is not None
        self.service.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.service.process.wait, 40)

    async def create_run(self, study: dict[str, Any]) -> str:
        """Start a run of a resolved study."""
        return str(answer_of(await self.http.post("/v1/runs", json=study))["run_id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        """The run as the API tells it."""
        found: dict[str, Any] = answer_of(await self.http.get(f"/v1/runs/{run_id}"))
        return found

    async def until_stage(self, run_id: str, stage: str, timeout_s: float = 60) -> None:
        """Wait until the run is in a stage; AssertionError if it ends before."""
        deadline = time.monotonic() + timeout_s
        while (found := await self.run(run_id))["stage"] != stage:
            assert found["status"] not in _ENDED, found
            assert time.monotonic() < deadline, f"not in {stage} within {timeout_s:g} s: {found['stage']}"
            await asyncio.sleep(0.02)

    async def until_ended(self, run_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """The run once it has ended."""
        deadline = time.monotonic() + timeout_s
        while (found := await self.run(run_id))["status"] not in _ENDED:
            assert time.monotonic() < deadline, f"not ended within {timeout_s:g} s: {found}"
            await asyncio.sleep(0.05)
        return found

    async def report(self, run_id: str) -> dict[str, Any]:
        """The run's report.json."""
        found: dict[str, Any] = answer_of(await self.http.get(f"/v1/runs/{run_id}/report"))
        return found

    async def result(self, run_id: str) -> Result:
        """What the run left behind, to be compared with another's."""
        return result_from(self._completions(run_id), await self.report(run_id), {}, run_id)

    def event_kinds(self, run_id: str) -> list[tuple[int, str]]:
        """Numbers and kinds of all events."""
        store = self._store()
        try:
            return [(event.number, event.kind) for event in store.events(run_id, limit=100_000)]
        finally:
            store.close()

    def _completions(self, run_id: str) -> list[dict[str, Any]]:
        store = self._store()
        try:
            rows = [asdict(record) for record in store.completions(run_id)]
        finally:
            store.close()
        return [{**row, "item_index": row["index"]} for row in rows]

    def _store(self) -> SqlRunStore:
        return SqlRunStore(f"sqlite:///{self.folder}/orchestrator.db")

    async def stop(self) -> None:
        """End it, whatever its state."""
        await self.http.aclose()
        self.service.stop()


@contextlib.asynccontextmanager
async def orchestrator(folder: Path, targets: Mapping[str, str], **more: Any) -> AsyncIterator[Orchestrator]:
    """One that serves while the block runs."""
    found = Orchestrator(folder, targets, **more)
    try:
        await found.start()
        yield found
    finally:
        await found.stop()
