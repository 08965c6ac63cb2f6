"""The loop on DBOS in this process, and waiting for what it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.loop.tally import COUNTS, SECONDS, USED
from tests.fakes.studies import study_json
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@asynccontextmanager
async def launched(world) -> AsyncIterator[LoopRunner]:
    url = f"sqlite:///{world.folder}/workflows.db"
    runner = LoopRunner(world.store, world.artifacts, world.connect, LoopConfig(url, queue_poll_s=0.05))
    await runner.launch()
    try:
        yield runner
    finally:
        await runner.shutdown()


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def ended(world, run_id: str) -> Callable[[], bool]:
    return lambda: world.store.get_run(run_id).status.ended


def create(world, run_id: str = "r-1") -> None:
    study = study_json()
    world.store.create_run(run_id, study["name"], study)


def total(world) -> dict[str, float]:
    """What the run r-1 has used, over its stages."""
    stages = world.store.get_value("r-1", USED)["stages"]
    return {name: sum(part.get(name, 0) for part in stages.values()) for name in (*COUNTS, *SECONDS)}
