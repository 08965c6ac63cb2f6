"""Cancelling what a step is doing when a user asks for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from services.common.errors import CancelledRequestError

Result = TypeVar("Result")


async def unless_cancelled(work: Coroutine[Any, Any, Result], cancelled: asyncio.Event) -> Result:
    """Run ``work``; CancelledRequestError as soon as the event is set, after ``work`` has stopped."""
    if cancelled.is_set():
        work.close()
        raise CancelledRequestError("the run was cancelled")
    task = asyncio.ensure_future(work)
    asked = asyncio.ensure_future(cancelled.wait())
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CancelledRequestError("the run was cancelled")
    finally:
        asked.cancel()
        task.cancel()
        # Either has ended or ends now; what a cancelled task raises is of no interest any more.
        await asyncio.gather(task, asked, return_exceptions=True)
