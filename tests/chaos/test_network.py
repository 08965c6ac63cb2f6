"""Bad lines between the orchestrator and each service: a run ends as it would have on good ones."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.chaos.campaign.comparing import Result, differences
from tests.chaos.orchestrators import Orchestrator, orchestrator
from tests.chaos.proxy import Proxy, proxy
from tests.fakes.fake_services import FakeServices, fake_services
from tests.fakes.studies import study_json

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module")]

# Longer than the time to a ping that finds a silent line (30 s) and its answer's time (10 s).
_SILENCE_S = 55.0


@dataclass
class Lines:
    """An orchestrator whose lines to the three services are proxies, and an undisturbed run's result."""

    orchestrator: Orchestrator
    fakes: FakeServices
    proxies: dict[str, Proxy]
    expected: Result

    async def same_as_undisturbed(self, run_id: str) -> None:
        run = await self.orchestrator.until_ended(run_id)
        assert run["status"] == "succeeded", run
        assert differences(self.expected, await self.orchestrator.result(run_id)) == []


def study() -> dict[str, Any]:
    return study_json(principles=6, iterations=1, guards={"general_prompts": None})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lines]:
    folder = tmp_path_factory.mktemp("network")
    async with AsyncExitStack() as stack:
        fakes = await stack.enter_async_context(fake_services())
        fakes.generator.concurrency = 2
        fakes.trainer.steps = 5
        proxies = {
            name: await stack.enter_async_context(proxy(fakes.target))
            for name in ("generator", "embedder", "trainer")
        }
        targets = {name: one.address for name, one in proxies.items()}
        settings = {"CALL_TIMEOUT_S": "5"}
        process = await stack.enter_async_context(orchestrator(folder, targets, settings=settings))
        run_id = await process.create_run(study())
        assert (await process.until_ended(run_id))["status"] == "succeeded"
        yield Lines(process, fakes, proxies, await process.result(run_id))


@pytest.fixture
def lines(served: Lines) -> Iterator[Lines]:
    """As good as new before and behind each test."""
    yield served
    for one in served.proxies.values():
        one.delay_s, one.crumbs, one.silent = 0.0, False, False
    served.fakes.generator.latency_s = served.fakes.trainer.step_s = 0.0


async def test_slow_lines_in_single_bytes_run_ends_with_the_same(lines: Lines) -> None:
    for one in lines.proxies.values():
        one.cut()
        one.delay_s, one.crumbs = 0.2, True
    await lines.same_as_undisturbed(await lines.orchestrator.create_run(study()))


async def test_lines_cut_in_the_middle_of_streams_run_ends_with_the_same(lines: Lines) -> None:
    lines.fakes.generator.latency_s = 0.1
    lines.fakes.trainer.step_s = 0.2
    lines.fakes.embedder.part = 4
    run_id = await lines.orchestrator.create_run(study())
    cuts = 0
    while (await lines.orchestrator.run(run_id))["status"] in ("queued", "running"):
        await asyncio.sleep(0.7)
        for one in lines.proxies.values():
            one.cut()
        cuts += 1
    assert cuts > 4
    await lines.same_as_undisturbed(run_id)


async def test_silent_line_longer_than_its_pings_run_goes_on_when_it_speaks(lines: Lines) -> None:
    lines.fakes.generator.latency_s = 0.2
    run_id = await lines.orchestrator.create_run(study())
    await lines.orchestrator.until_stage(run_id, "uncover")
    await asyncio.sleep(0.5)
    generator = lines.proxies["generator"]
    before = generator.connections
    generator.silent = True
    async with asyncio.timeout(_SILENCE_S):
        # The client has given the connection up and begun another, which is as silent.
        while generator.connections == before:
            await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    assert (await lines.orchestrator.run(run_id))["status"] == "running"
    lines.fakes.generator.latency_s = 0.0
    generator.silent = False
    await lines.same_as_undisturbed(run_id)
