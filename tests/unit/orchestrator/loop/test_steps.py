"""Errors, cancelling and events of a step."""

import asyncio
import errno
import time
from dataclasses import replace

import pytest

from services.common.errors import CancelledRequestError, InternalError, NotReadyError, PreconditionError
from services.orchestrator.clients.embedding_cache import CachedEmbedder
from services.orchestrator.loop.steps import Steps
from services.orchestrator.loop.tally import USED, Tally
from tests.fakes.studies import study_json


async def test_run_unexpected_error_becomes_internal_without_its_text(world) -> None:
    steps = Steps(world.context(study_json()), world.record)

    async def broken() -> None:
        raise ZeroDivisionError("secret")

    with pytest.raises(InternalError, match="request id") as raised:
        await steps.run("a_step", "quantify", broken)
    assert "secret" not in str(raised.value)


async def test_run_recorded_error_is_raised_again_without_the_work(world) -> None:
    ctx = world.context(study_json())
    calls = []

    async def refused() -> None:
        calls.append(1)
        raise PreconditionError("no", details={"a": 1})

    for _ in range(2):
        with pytest.raises(PreconditionError) as raised:
            await Steps(ctx, world.record).run("a_step", "quantify", refused)
        assert raised.value.details == {"a": 1}
    assert calls == [1]


async def test_run_cancelled_stops_the_work_first(world) -> None:
    ctx = world.context(study_json())
    stopped = []

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            stopped.append(True)

    running = asyncio.create_task(Steps(ctx, world.record).run("a_step", "quantify", slow))
    await asyncio.sleep(0.05)
    ctx.cancelled.set()
    with pytest.raises(CancelledRequestError):
        await running
    assert stopped == [True]


async def test_run_opens_and_closes_tells_stage_and_time(world) -> None:
    ctx = world.context(study_json())

    async def work() -> int:
        return 3

    await Steps(ctx, world.record).run(
        "a_step", "realign", work, opens=True, closes=lambda value: value == 3, iteration=2
    )
    assert world.events("stage.started")[0].data == {"stage": "realign", "iteration": 2}
    assert world.events("stage.ended")[0].data["stage"] == "realign"
    assert world.store.get_run("r-1").stage == "realign"


async def test_run_no_space_left_is_not_ready_with_the_remedy(world) -> None:
    async def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NotReadyError, match=r"no space is left .* make room"):
        await Steps(world.context(study_json()), world.record).run("a_step", "verdict", full)


async def test_run_process_dies_in_a_step_its_time_until_the_last_save_is_counted_and_once(world) -> None:
    ctx = world.context(study_json())

    async def long() -> None:
        await asyncio.sleep(0.2)
        await ctx.keep_tally()
        await asyncio.sleep(30)

    step = asyncio.create_task(Steps(ctx, world.record).run("a_step", "realign", long))
    while not world.store.get_value("r-1", USED):
        await asyncio.sleep(0.01)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    stored = world.store.get_value("r-1", USED)
    first_s = stored["stages"]["realign"]["wall_s"]
    assert 0.2 <= first_s < 5

    async def short() -> None:
        await again.keep_tally()

    began = time.monotonic()
    again = world.context(study_json())
    again.tally = Tally(stored)
    await Steps(again, world.record).run("a_step", "realign", short)
    more_s = again.tally.of("realign")["wall_s"] - first_s
    assert 0 < more_s <= time.monotonic() - began


async def test_embed_counts_what_was_computed_apart_from_what_was_known(world) -> None:
    store, ctx = world.store, world.context(study_json())
    cached = CachedEmbedder(ctx.services.embedder, store.embedding_rows(1 << 30))
    ctx.services = replace(ctx.services, embedder=cached)
    for texts in (["a", "b", "a"], ["b", "c"]):
        await ctx.embed(texts)
    used = ctx.tally.total()
    assert (used["embeddings"], used["embeddings_cached"]) == (3, 1)
