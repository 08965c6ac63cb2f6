"""The replicas that are there, followed for as long as the process lives.

One task asks where they are, and one for each asks how it is. Whoever dispatches work is told of each change;
the registry sees the same replicas, so that an adapter is promoted on every one that runs generate on.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import overload

import grpc
import structlog

from services.common.errors import NotReadyError, ValignError
from services.orchestrator.clients.discovery import Address, Discovery
from services.orchestrator.clients.fleet.member import LOOK_S, Member, State
from services.orchestrator.monitor.live.records import Traffic
from services.orchestrator.registry.ports import Replica

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
"""Seconds between two looks at a replica, and between two at where they are."""

Open = Callable[[Address], grpc.aio.Channel]


class Fleet:
    """Generator replicas. Not thread-safe: lives in one event loop, from ``start`` to ``aclose``.

    Args:
        addresses: where they are.
        open_channel: makes the connection to one.
        interval_s: seconds between two looks.
        look_s: seconds that a replica has for each question of a look; three that are missed in a row, and
            what it was given is taken back.
    """

    def __init__(
        self,
        addresses: Discovery,
        open_channel: Open,
        interval_s: float = INTERVAL_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._addresses = addresses
        self._open = open_channel
        self._interval_s = interval_s
        self._look_s = look_s
        self._members: dict[Address, Member] = {}
        self._watching: dict[Address, asyncio.Task[None]] = {}
        self._wake: dict[Address, asyncio.Event] = {}
        self._finding: asyncio.Task[None] | None = None
        self._listeners: set[Callable[[], None]] = set()

    @property
    def members(self) -> list[Member]:
        """Every replica that is there, well or not; one that leaves is not."""
        return [member for member in self._members.values() if not member.leaving]

    @property
    def serving(self) -> list[Member]:
        """Those that may get work."""
        return [member for member in self._members.values() if member.state is State.SERVING]

    def why_none(self) -> str:
        """What to tell somebody who waits for a replica."""
        members = self.members
        if not members:
            return "no replica is known: no name among the generator's targets has an address yet"
        told = "; ".join(f"{one.target}: {one.error or one.state.value}" for one in members[:3])
        more = f"; and {len(members) - 3} more" if len(members) > 3 else ""
        return f"no replica of the generator can take it ({told}{more})"

    @contextmanager
    def told(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` after each change of what the members may be used for."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def suspect(self, member: Member, error: ValignError) -> None:
        """A call to it failed: no work for it until it has been looked at, which is now."""
        if member.state is State.SERVING:
            log.warning(
                "replica.suspected", target=member.target, code=error.code.value, reason=error.message
            )
        member.suspect(error)
        self.tell()
        for address, known in self._members.items():
            if known is member:
                self._wake[address].set()

    async def start(self) -> None:
        """Find the replicas, look at each once, and follow them from then on."""
        await self._find()
        await asyncio.gather(*(member.look() for member in self.members))
        self.tell()
        self._finding = asyncio.create_task(self._keep_finding())

    async def aclose(self) -> None:
        """Look no more, and end the connections."""
        tasks = [*self._watching.values(), *([self._finding] if self._finding else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watching.clear()
        for member in self._members.values():
            await member.close()
        self._members.clear()

    async def _keep_finding(self) -> None:
        while True:
            if self._addresses.fixed:
                return
            await asyncio.sleep(self._interval_s)
            await self._find()

    async def _find(self) -> None:
        wanted = set(await self._addresses.addresses())
        for address in sorted(wanted - self._members.keys()):
            self._members[address] = Member(address, self._open(address), self._look_s)
            self._wake[address] = asyncio.Event()
            self._watching[address] = asyncio.create_task(self._watch(address))
            log.info("replica.found", target=address.target)
        for address, member in self._members.items():
            if member.leaving != (address not in wanted):
                log.info("replica.left" if not member.leaving else "replica.found", target=member.target)
                if member.leaving:
                    member.leaving = False
                else:
                    member.leave()
                self._wake[address].set()
                self.tell()

    async def _watch(self, address: Address) -> None:
        member, wake = self._members[address], self._wake[address]
        while True:
            wake.clear()
            if await member.look():
                log.info("replica.state", target=member.target, state=member.state.value, reason=member.error)
                self.tell()
            if member.leaving and (not member.busy or member.state is State.AWAY):
                del self._members[address], self._watching[address], self._wake[address]
                await member.close()
                return
            try:
                async with asyncio.timeout(self._interval_s):
                    await wake.wait()
            except TimeoutError:
                continue

    def tell(self) -> None:
        """What a replica may be used for has changed."""
        for listener in tuple(self._listeners):
            listener()


class FleetReplicas(Sequence[Replica]):
    """The members as the registry's replicas, as they are at the moment.

    Iterating raises NotReadyError while none is known: "on every replica" must not be true of nothing.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __len__(self) -> int:
        return len(self._fleet.members)

    def __iter__(self) -> Iterator[Replica]:
        members = self._fleet.members
        if not members:
            raise NotReadyError(self._fleet.why_none())
        return iter([member.replica for member in members])

    @overload
    def __getitem__(self, index: int) -> Replica: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Replica]: ...
    def __getitem__(self, index: int | slice) -> Replica | Sequence[Replica]:
        return list(self)[index]


class FleetTraffic(Collection[Traffic]):
    """What the members serve to people, as they are at the moment; nothing while none is known."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __len__(self) -> int:
        return len(self._fleet.members)

    def __contains__(self, one: object) -> bool:
        return any(one is member.traffic for member in self._fleet.members)

    def __iter__(self) -> Iterator[Traffic]:
        return iter([member.traffic for member in self._fleet.members])
