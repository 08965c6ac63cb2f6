"""Work on a stream of items with bounded concurrency; results come in the order in which they end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from services.generator.metrics import WAITING

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def run_batch(
    items: AsyncIterator[ItemT],
    work: Callable[[ItemT], Awaitable[ResultT]],
    slots: asyncio.Semaphore,
    *,
    max_unread: int,
) -> AsyncGenerator[ResultT, None]:
    """Start ``work`` for each item as it arrives, and yield each result at the moment it ends.

    An item is taken from ``items`` only when there is a slot for it, so that a caller who sends
    faster than the engine works is slowed down by the transport. The slots are shared by all
    calls and given in the order of asking. A result that the caller has not read counts against
    ``max_unread``, so a caller who does not read holds back no one but itself.

    An exception of ``items`` or ``work`` ends the batch with it. Whatever ends the batch, all work
    that has not ended is cancelled.
    """
    results: asyncio.Queue[ResultT | BaseException | None] = asyncio.Queue()
    unread = asyncio.Semaphore(max_unread)
    running: set[asyncio.Task[None]] = set()

    async def one(item: ItemT) -> None:
        try:
            results.put_nowait(await work(item))
        except Exception as error:
            results.put_nowait(error)

    def ended(task: asyncio.Task[None]) -> None:
        # Not in a finally of the task: one cancelled before its first step runs none.
        running.discard(task)
        slots.release()

    async def feed() -> None:
        try:
            async for item in items:
                await unread.acquire()
                with WAITING.track_inprogress():
                    await slots.acquire()
                task = asyncio.create_task(one(item))
                running.add(task)
                task.add_done_callback(ended)
            while running:
                await asyncio.wait(running)
            results.put_nowait(None)
        except Exception as error:
            results.put_nowait(error)

    feeder = asyncio.create_task(feed())
    try:
        while (result := await results.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result
            unread.release()
    finally:
        feeder.cancel()
        pending = [feeder, *running]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
