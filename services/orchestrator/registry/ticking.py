"""Tasks that the leader repeats: every few seconds, and at once when there is news."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from services.orchestrator.records import LeadershipLost

log = structlog.get_logger(__name__)


class Ticker:
    """Repeats one step until it is cancelled. An error of a step is logged, and the next one comes.

    Args:
        name: of the step, for the log.
        step: what is repeated.
        interval_s: seconds between the end of a step and the next one, at most.
    """

    def __init__(self, name: str, step: Callable[[], Awaitable[object]], interval_s: float) -> None:
        self._name = name
        self._step = step
        self._interval_s = interval_s
        self._news = asyncio.Event()

    def nudge(self) -> None:
        """Do the next step now. From the event loop's thread."""
        self._news.set()

    async def lead(self, epoch: int) -> None:
        """Repeat while this process leads; ``epoch`` is told to the log."""
        log.info("leader.task_began", task=self._name, epoch=epoch)
        while True:
            self._news.clear()
            try:
                await self._step()
            except LeadershipLost as lost:
                # Either this task is about to be cancelled, or the database was away for a moment.
                log.warning("leader.step_cut", task=self._name, reason=str(lost))
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Something that the step waited for was cancelled, not this task.
                log.exception("leader.step_cut", task=self._name)
            except Exception:
                log.exception("leader.step_failed", task=self._name)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._news.wait()
