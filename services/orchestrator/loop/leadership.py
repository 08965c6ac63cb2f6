"""One orchestrator leads: it holds a lease in the database, runs the loop, and stops when it loses the lease.

No clock of the wall is used. The holder renews the lease; whoever waits takes it over when it has not moved
for ``timeout_s`` of its own monotonic clock. The holder gives up after ``0.6 * timeout_s`` without a
renewal, by its own clock too. Two that overlap all the same (a process that was stopped and goes on) are
told apart by the lease's epoch: see ``store.bound`` and ``services.common.rpc.fence``.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog
from prometheus_client import Gauge

from services.common.errors import NotReadyError
from services.common.rpc.fence import Epoch, leading
from services.orchestrator.loop.holder import Holder
from services.orchestrator.ports import LeadershipLost

log = structlog.get_logger(__name__)

LeaderTask = Callable[[int], Awaitable[None]]
"""Work of the leader alone: called with the epoch when it begins to lead, cancelled when it no longer does.
Its calls to trainer and generator carry the epoch where they pass ``epoch_metadata()``."""

LEADER = Gauge("valign_orchestrator_leader", "1 while this process leads, else 0.")
EPOCH = Gauge(
    "valign_orchestrator_lease_epoch", "Epoch of the lease that this process held last; 0 for none."
)

_LOOK_S = 0.25
_AGAIN_S = 1.0
_GIVES_UP_AFTER = 0.6


class Leases(Protocol):
    """The lease in the database; see ``store.leases``. Blocking."""

    def read(self) -> Any: ...
    def acquire(self, holder: str, seen: Any) -> int | None: ...
    def renew(self, holder: str, epoch: int) -> bool: ...
    def release(self, holder: str, epoch: int) -> bool: ...
    def lineage(self) -> str: ...


class Loop(Protocol):
    """What is run while leading."""

    cut_off: asyncio.Event

    async def launch(self, epoch: Epoch | None = None) -> None: ...
    async def shutdown(self) -> None: ...


class Doorbell:
    """The RunQueue port: the store is the queue, and the loop of this process, if it leads, looks at once."""

    def __init__(self, ring: Callable[[], None] | None = None) -> None:
        self._ring = ring
        self.open = False

    def check_ready(self) -> None:
        """NotReadyError while ``open`` is False: the process starts or stops."""
        if not self.open:
            raise NotReadyError("the orchestrator is starting or stopping; try again in a few seconds")

    async def enqueue(self, run_id: str) -> None:
        """The store has a run that waits, or one whose requests have changed."""
        self._tell()

    async def cancel(self, run_id: str) -> None:
        """The store has a request to cancel this run."""
        self._tell()

    def _tell(self) -> None:
        if self._ring is not None:
            self._ring()


class Heartbeat(threading.Thread):
    """Renews the lease from a thread of its own: an event loop that is busy for seconds loses nothing."""

    def __init__(self, renew: Callable[[], bool], timeout_s: float, began_s: float) -> None:
        """``began_s`` is the monotonic time before the lease was acquired."""
        super().__init__(name="valign-lease", daemon=True)
        self._renew = renew
        self._timeout_s = timeout_s
        self._renewed_s = began_s
        self._refused = False
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Renew every quarter of the timeout until stopped or refused."""
        while not self._stop_asked.wait(self._timeout_s / 4):
            began_s = time.monotonic()
            try:
                renewed = self._renew()
            except Exception as error:
                # Whether it was renewed is not known: only a renewal that was answered counts.
                log.warning("lease.not_renewed", reason=str(error))
                continue
            if not renewed:
                self._refused = True
                return
            self._renewed_s = began_s

    def lost(self) -> str:
        """Why this process must not think that it leads; empty while it may."""
        if self._refused:
            return "another orchestrator has taken the lease"
        if time.monotonic() - self._renewed_s > _GIVES_UP_AFTER * self._timeout_s:
            return "the lease could not be renewed in time"
        return ""

    def stop(self) -> None:
        """Renew no more. A call that hangs is left behind."""
        self._stop_asked.set()


class Leadership:
    """Campaigns, leads, and campaigns again, until it is cancelled."""

    def __init__(
        self,
        leases: Leases,
        loop: Loop,
        *,
        timeout_s: float = 8.0,
        tasks: Sequence[LeaderTask] = (),
        holder: Holder | None = None,
    ) -> None:
        self._leases = leases
        self._loop = loop
        self._timeout_s = timeout_s
        self._tasks = tuple(tasks)
        self._holder = holder or Holder.of_this_process()
        self.epoch: int | None = None
        """The epoch in which this process leads now; None while it waits."""

    async def run(self) -> None:
        """Never returns; cancel it. What it runs has stopped, and the lease is free, when it has ended."""
        while True:
            epoch, began_s = await self._campaign()
            await self._lead(epoch, began_s)
            await asyncio.sleep(_AGAIN_S)

    async def _campaign(self) -> tuple[int, float]:
        """Wait until the lease is ours: its epoch, and the monotonic time before it was acquired."""
        me = str(self._holder)
        seen, since_s, away = None, 0.0, False
        log.info("leadership.waiting", holder=me)
        while True:
            began_s = time.monotonic()
            try:
                lease = await asyncio.to_thread(self._leases.read)
                still = lease is not None and lease == seen and began_s - since_s >= self._timeout_s
                free = lease is None or not lease.holder
                if free or still or (lease is not None and self._holder.may_replace(lease.holder)):
                    epoch = await asyncio.to_thread(self._leases.acquire, me, lease)
                    if epoch is not None:
                        return epoch, began_s
                elif lease != seen:
                    seen, since_s = lease, time.monotonic()
                away = False
            except Exception as error:
                if not away:
                    log.warning("leadership.database_away", reason=str(error))
                away = True
            await asyncio.sleep(min(_LOOK_S, self._timeout_s / 8))

    async def _lead(self, epoch: int, began_s: float) -> None:
        me = str(self._holder)
        beat = Heartbeat(lambda: self._leases.renew(me, epoch), self._timeout_s, began_s)
        beat.start()
        log.info("leadership.began", epoch=epoch)
        others: list[asyncio.Future[None]] = []
        try:
            lineage = await asyncio.to_thread(self._leases.lineage)
            leader = Epoch(epoch, lineage)
            await self._loop.launch(leader)
            self.epoch = epoch
            LEADER.set(1)
            EPOCH.set(epoch)
            with leading(leader):
                others = [asyncio.ensure_future(task(epoch)) for task in self._tasks]
            log.info("leadership.lost", epoch=epoch, reason=await self._until_lost(beat, others))
        except LeadershipLost as lost:
            log.warning("leadership.lost", epoch=epoch, reason=str(lost))
        except Exception:
            # Whatever it was, the next leader begins from what is recorded.
            log.exception("leadership.failed", epoch=epoch)
        finally:
            self.epoch = None
            LEADER.set(0)
            await _to_its_end(self._end(me, epoch, beat, others))

    async def _end(
        self, me: str, epoch: int, beat: Heartbeat, others: Sequence[asyncio.Future[None]]
    ) -> None:
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown()
        # Only now: while something of ours runs nobody should take over.
        beat.stop()
        await self._release(me, epoch)
        log.info("leadership.ended", epoch=epoch)

    async def _until_lost(self, beat: Heartbeat, others: Sequence[asyncio.Future[None]]) -> str:
        while True:
            if reason := beat.lost():
                return reason
            for other in others:
                if not other.done():
                    continue
                # Nobody but ``_end`` cancels them.
                error = asyncio.CancelledError() if other.cancelled() else other.exception()
                if error is not None:
                    log.error("leadership.task_failed", exc_info=error)
                    return "a task of the leader failed"
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._loop.cut_off.wait()
                return "a run was cut off"

    async def _release(self, me: str, epoch: int) -> None:
        try:
            async with asyncio.timeout(self._timeout_s / 4):
                await asyncio.to_thread(self._leases.release, me, epoch)
        except Exception as error:
            log.warning("lease.not_released", reason=repr(error))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for work that a cancellation must not cut (the process stops while the leadership ends), and pass
    the cancellation on behind it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
