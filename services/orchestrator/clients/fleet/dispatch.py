"""One call's items over the replicas: each goes to one of them, and comes back once.

Items wait in one queue. A replica gets at most ``window`` of them at a time, in one stream that stays open,
and more as its own come back, so that the fast ones do more. A stream that ends without an answer to
everything it was given puts the rest back at the front of the queue: only that is asked for again, of another
replica.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog

from services.common.errors import ErrorCode, InternalError, NotReadyError, ValignError, error_for
from services.common.rpc.client import as_stream_error, translated
from services.common.rpc.fence import epoch_metadata
from services.orchestrator.clients.fleet.fleet import Fleet
from services.orchestrator.clients.fleet.member import Member, State
from services.orchestrator.clients.fleet.pause import Pause, pause_after
from services.orchestrator.clients.patience import Waiter

log = structlog.get_logger(__name__)

Item = TypeVar("Item")

MAX_STREAM_S = 6 * 3600.0
_TRY_ELSEWHERE = frozenset(
    {ErrorCode.NOT_READY, ErrorCode.OVERLOADED, ErrorCode.TIMEOUT, ErrorCode.NOT_FOUND}
)
"""What says something of a replica and not of the items. An item's own error comes back with the item."""

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# A stream's last word is what it cost.
_LAST_WORD_S = 5.0


class Fitness(Protocol):
    """Who may work for a call."""

    def fits(self, member: Member) -> bool:
        """Whether this replica may get items now. Where that can be brought about, it is begun."""
        ...

    def lost(self, member: Member) -> None:
        """The replica says that it does not hold what the call names."""
        ...

    def reason(self) -> ValignError:
        """Why nobody may work. Raises what waiting does not cure."""
        ...


class Lane(Generic[Item]):
    """The stream of one call to one replica, and what it has been given."""

    def __init__(
        self,
        member: Member,
        rpc: Callable[..., Any],
        write: Callable[[Sequence[Item]], Iterator[Any]],
        say: Callable[["Lane[Item]", Any], None],
        check: Callable[[Member], Awaitable[None]],
    ) -> None:
        self.member = member
        self.held: dict[str, Item] = {}
        self.open = True
        self._rpc = rpc
        self._write = write
        self._say = say
        self._check = check
        self._feed: asyncio.Queue[list[Item] | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def give(self, items: Mapping[str, Item]) -> None:
        """Send these."""
        self.held.update(items)
        self.member.given(len(items))
        self._feed.put_nowait(list(items.values()))

    def finish(self) -> None:
        """No more will be given: the stream ends once what it has is answered."""
        if self.open:
            self.open = False
            self._feed.put_nowait(None)

    def cut(self) -> None:
        """End it now; ``ended`` waits until it has."""
        self.open = False
        self._task.cancel()

    async def ended(self) -> None:
        """Wait for its end; one that does not end by itself is cut."""
        await asyncio.wait({self._task}, timeout=_LAST_WORD_S)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Say each reply, and at the end None or the ValignError that ended it."""
        call, ended = None, None
        try:
            await self._check(self.member)
            with translated(self.member.target, as_stream_error):
                call = self._rpc(self._requests(), timeout=MAX_STREAM_S, metadata=epoch_metadata())
                async for reply in call:
                    self._say(self, reply)
        except ValignError as error:
            ended = error
        except Exception as error:
            # Whoever waits for the items must hear of it, whatever it is.
            ended = InternalError(f"the stream to {self.member.target} failed: {error!r}")
            log.exception("replica.stream_failed", target=self.member.target)
        finally:
            if call is not None:
                call.cancel()
        self.open = False
        self._say(self, ended or NotReadyError(f"{self.member.target} ended the stream"))

    async def _requests(self) -> AsyncIterator[Any]:
        while (items := await self._feed.get()) is not None:
            for request in self._write(items):
                yield request


class Dispatch(Generic[Item]):
    """One call.

    Args:
        fleet: the replicas.
        fitness: which of them may work for it.
        items: what is wanted, by key.
        rpc: the stream's method of a replica.
        write: the messages that carry some items.
        waiter: bounds the time without progress.
        window: most items in flight on one replica.
    """

    def __init__(
        self,
        fleet: Fleet,
        fitness: Fitness,
        items: Mapping[str, Item],
        rpc: Callable[[Member], Callable[..., Any]],
        write: Callable[[Sequence[Item]], Iterator[Any]],
        waiter: Waiter,
        window: int,
    ) -> None:
        self._fleet = fleet
        self._fitness = fitness
        self._rpc = rpc
        self._write = write
        self._waiter = waiter
        self._window = window
        self._refill = max(1, window // 8)
        self._pending = deque(items.items())
        self._missing = len(items)
        self._lanes: dict[Member, Lane[Item]] = {}
        self._finishing: set[Lane[Item]] = set()
        self._cut: set[Lane[Item]] = set()
        self._said: asyncio.Queue[tuple[Lane[Item] | None, Any]] = asyncio.Queue()
        self._benched: dict[Member, Pause] = {}

    async def replies(self) -> AsyncGenerator[Any, None]:
        """One reply for each item, in the order in which they come.

        Raises what a replica says that no other one will answer better, and NotReadyError if nobody could
        work for longer than the waiter allows.
        """
        with self._fleet.told(lambda: self._said.put_nowait((None, None))):
            try:
                self._share_out()
                while self._missing:
                    if not self._busy():
                        await self._wait()
                        self._share_out()
                        continue
                    lane, said = await self._said.get()
                    reply = self._heard(lane, said)
                    if reply is not None:
                        yield reply
            finally:
                lanes = {*self._lanes.values(), *self._finishing, *self._cut}
                for lane in lanes:
                    # Abandoned by whoever reads the replies, or failed: what is in flight is of no use.
                    if lane.held or self._missing:
                        lane.cut()
                    self._take_back(lane)
                    lane.finish()
                await asyncio.gather(*(lane.ended() for lane in lanes))

    def _busy(self) -> bool:
        return not self._said.empty() or any(lane.held for lane in (*self._lanes.values(), *self._finishing))

    def _heard(self, lane: Lane[Item] | None, said: Any) -> Any:
        """The reply, if it is one that counts."""
        if lane is None:
            self._leave_those_away()
            self._share_out()
            return None
        if isinstance(said, ValignError):
            self._ended(lane, said)
            return None
        if said.id not in lane.held:
            # Taken back already, or never asked for.
            return None
        if said.HasField("error") and (code := ErrorCode.__members__.get(said.error.code)) in _TRY_ELSEWHERE:
            # The stream goes on for the others, and takes this item not a second time.
            # It says so of one item; whether the replica is well is seen by looking at it.
            self._bench(lane.member, error_for(code.value, said.error.message), suspect=False)
            self._pending.appendleft((said.id, lane.held.pop(said.id)))
            lane.member.gave(taken_back=1)
            self._retire(lane)
            self._share_out()
            return None
        del lane.held[said.id]
        lane.member.gave()
        self._missing -= 1
        self._waiter.progress()
        self._benched.pop(lane.member, None)
        if self._pending and lane.open and len(lane.held) <= self._window - self._refill:
            self._top_up(lane)
        return said

    def _ended(self, lane: Lane[Item], error: ValignError) -> None:
        if self._lanes.get(lane.member) is lane:
            del self._lanes[lane.member]
        self._finishing.discard(lane)
        if not lane.held:
            # All that it was given is answered or has been taken back, whatever ended it.
            if error.code not in _TRY_ELSEWHERE:
                log.warning("replica.stream_failed", target=lane.member.target, reason=error.message)
            self._share_out()
            return
        if error.code not in _TRY_ELSEWHERE:
            raise error
        log.warning(
            "replica.work_taken_back", target=lane.member.target, items=len(lane.held), reason=error.message
        )
        self._take_back(lane)
        self._bench(lane.member, error)
        self._share_out()

    def _take_back(self, lane: Lane[Item]) -> None:
        if lane.held:
            lane.member.gave(taken_back=len(lane.held))
            self._pending.extendleft(reversed(lane.held.items()))
            lane.held = {}

    def _bench(self, member: Member, error: ValignError, *, suspect: bool = True) -> None:
        """Leave a replica alone for a while, longer each time that it fails without an answer in between."""
        if error.code is ErrorCode.NOT_FOUND:
            self._fitness.lost(member)
        self._benched[member] = pause_after(
            self._benched.get(member),
            error,
            lambda: self._said.put_nowait((None, None)),
            first_s=_FIRST_PAUSE_S,
            longest_s=_LONGEST_PAUSE_S,
        )
        if suspect and error.code in (ErrorCode.NOT_READY, ErrorCode.TIMEOUT):
            self._fleet.suspect(member, error)

    def _leave_those_away(self) -> None:
        for lane in [*self._lanes.values(), *self._finishing]:
            if lane.member.state is State.AWAY:
                log.warning("replica.work_taken_back", target=lane.member.target, items=len(lane.held))
                self._take_back(lane)
                self._retire(lane)
                self._finishing.discard(lane)
                self._cut.add(lane)
                lane.cut()
            elif lane.member.state is not State.SERVING and lane in self._lanes.values():
                self._retire(lane)

    def _retire(self, lane: Lane[Item]) -> None:
        """Give it no more; what it has may come back still."""
        if self._lanes.get(lane.member) is lane:
            del self._lanes[lane.member]
        lane.finish()
        self._finishing.add(lane)

    def _share_out(self) -> None:
        """Give what waits to whoever may work, each item to the one that has the least."""
        if not self._pending:
            return
        free: list[tuple[int, int, Member]] = []
        room: dict[Member, int] = {}
        for place, member in enumerate(self._fleet.serving):
            benched = self._benched.get(member)
            if (benched and not benched.over) or not self._fitness.fits(member):
                continue
            if (left := self._room(member)) > 0:
                room[member] = left
                free.append((member.in_flight, place, member))
        heapq.heapify(free)
        shares: dict[Member, dict[str, Item]] = {}
        while self._pending and free:
            load, place, member = free[0]
            key, item = self._pending.popleft()
            shares.setdefault(member, {})[key] = item
            room[member] -= 1
            if room[member]:
                heapq.heapreplace(free, (load + 1, place, member))
            else:
                heapq.heappop(free)
        for member, share in shares.items():
            self._lane(member).give(share)

    def _top_up(self, lane: Lane[Item]) -> None:
        """Near the end everybody takes a share only, so that nobody is left with all of it."""
        if not self._fitness.fits(lane.member):
            self._retire(lane)
            return
        fair = -(-len(self._pending) // max(1, len(self._lanes)))
        count = min(self._room(lane.member), max(fair, 1), len(self._pending))
        if count > 0:
            lane.give(dict(self._pending.popleft() for _ in range(count)))

    def _room(self, member: Member) -> int:
        """What its window leaves: a lane that finishes still fills it."""
        lanes = [self._lanes.get(member), *(one for one in self._finishing if one.member is member)]
        return self._window - sum(len(lane.held) for lane in lanes if lane is not None)

    def _lane(self, member: Member) -> Lane[Item]:
        lane = self._lanes.get(member)
        if lane is None or not lane.open:
            lane = Lane(
                member,
                self._rpc(member),
                self._write,
                lambda *said: self._said.put_nowait(said),
                self._check,
            )
            self._lanes[member] = lane
        return lane

    async def _check(self, member: Member) -> None:
        """Ask the replica once more who it is, before it gets anything: it may have been started again since
        it was looked at, with nothing in it or with another model."""
        if await member.look():
            self._fleet.tell()
        if member.state is not State.SERVING:
            raise NotReadyError(f"{member.target}: {member.error}")
        if not self._fitness.fits(member):
            raise NotReadyError(f"{member.target} is not what it was")

    def _reason(self) -> ValignError:
        """Why nobody works: what the replicas said of this call, if they said anything."""
        reason = self._fitness.reason()
        said = [
            f"{member.target}: {self._benched[member].error.message}"
            for member in self._fleet.members
            if member in self._benched
        ]
        return NotReadyError(f"{reason.message}. Last said: {'; '.join(said[:3])}") if said else reason

    async def _wait(self) -> None:
        """Until something changes, a pause is over, or the wait has been too long."""
        pausing = asyncio.ensure_future(self._waiter.pause(self._reason()))
        hearing = asyncio.ensure_future(self._said.get())
        try:
            await asyncio.wait({pausing, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                self._heard(*hearing.result())
            else:
                pausing.result()
        finally:
            pausing.cancel()
            hearing.cancel()
            await asyncio.gather(pausing, hearing, return_exceptions=True)
