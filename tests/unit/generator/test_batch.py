"""Bounded concurrency over a stream of items."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.generator.batch import run_batch


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_run_batch_many_items_each_result_once() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    slots = asyncio.Semaphore(7)
    results = [r async for r in run_batch(numbers(500), work, slots, max_unread=14)]
    assert sorted(results) == [2 * n for n in range(500)]


async def test_run_batch_results_come_as_they_end() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0.05 * (3 - number))
        return number

    batch = run_batch(numbers(3), work, asyncio.Semaphore(8), max_unread=8)
    assert [r async for r in batch] == [2, 1, 0]


async def test_run_batch_no_items_ends() -> None:
    async def work(number: int) -> int:
        return number

    assert [r async for r in run_batch(numbers(0), work, asyncio.Semaphore(1), max_unread=1)] == []


async def test_run_batch_never_exceeds_slots_nor_takes_more_items() -> None:
    taken = running = most = 0

    async def items() -> AsyncIterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert taken <= number + 1 + 5
        await asyncio.sleep(0.001)
        running -= 1
        return number

    assert len([r async for r in run_batch(items(), work, asyncio.Semaphore(4), max_unread=50)]) == 50
    assert most == 4


async def test_run_batch_reader_that_stops_holds_back_itself_only() -> None:
    async def work(number: int) -> int:
        return number

    slots = asyncio.Semaphore(2)
    idle = run_batch(numbers(100), work, slots, max_unread=4)
    assert await anext(idle) == 0
    await asyncio.sleep(0.01)
    other = [r async for r in run_batch(numbers(100), work, slots, max_unread=4)]
    assert len(other) == 100
    await idle.aclose()


@pytest.mark.parametrize("where", ["work", "items"])
async def test_run_batch_error_ends_it_and_gives_slots_back(where: str) -> None:
    cancelled = 0

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        if where == "items":
            raise RuntimeError("broken")
        yield 2
        await asyncio.sleep(60)

    async def work(number: int) -> int:
        nonlocal cancelled
        if number == 2:
            raise RuntimeError("broken")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return number

    slots = asyncio.Semaphore(3)
    with pytest.raises(RuntimeError, match="broken"):
        _ = [r async for r in run_batch(items(), work, slots, max_unread=3)]
    assert cancelled == 2
    await asyncio.wait_for(asyncio.gather(*(slots.acquire() for _ in range(3))), 1)


async def test_run_batch_cancelled_before_tasks_start_gives_slots_back() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(60)
        return number

    slots = asyncio.Semaphore(3)

    async def consume() -> None:
        async for _ in run_batch(numbers(10), work, slots, max_unread=10):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(slots.acquire() for _ in range(3))), 1)
