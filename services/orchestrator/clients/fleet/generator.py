"""The generator port over many replicas.

An adapter is given work only on replicas that hold it, and a generator holds only what it has proven. Loading
asks every replica that serves; one that comes back empty, or late, is filled again by the first call that has
work for it, and gets none of that adapter's work until it has proven it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import structlog

from services.common.errors import (
    ErrorCode,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ValignError,
)
from services.orchestrator.clients import generator_wire as wire
from services.orchestrator.clients.fleet.dispatch import Dispatch, Fitness
from services.orchestrator.clients.fleet.fleet import Fleet
from services.orchestrator.clients.fleet.member import Member, check_one_model
from services.orchestrator.clients.fleet.pause import Pause, pause_after
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told
from services.orchestrator.ports import (
    AdapterRef,
    Completion,
    GenerationItem,
    GeneratorInfo,
    Score,
    ScoreItem,
    SwapProof,
)

log = structlog.get_logger(__name__)

Item = TypeVar("Item", GenerationItem, ScoreItem)
Result = TypeVar("Result")

SERVICE = "generator"
DEFAULT_WINDOW = 256
_AWAY = frozenset({ErrorCode.NOT_READY, ErrorCode.TIMEOUT})
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class FleetGenerator:
    """One run's view of the fleet: the model that it began with, and the adapters that it loaded.

    Args:
        fleet: the replicas, shared by every run.
        patience: how long a call waits without progress.
        on_waiting: told before each pause.
        window: most items of one call in flight on one replica; what a dead one may have to be asked again.
        fingerprint: of the base model that the run began with; empty if it has yet to begin.
    """

    def __init__(
        self,
        fleet: Fleet,
        patience: Patience | None = None,
        on_waiting: OnWaiting = no_one_told,
        window: int = DEFAULT_WINDOW,
        fingerprint: str = "",
    ) -> None:
        self._fleet = fleet
        self._patience = patience or Patience()
        self._on_waiting = on_waiting
        self._window = window
        self._fingerprint = fingerprint
        self._wanted: dict[str, AdapterRef] = {}
        self._unloaded: set[str] = set()
        self._refused: dict[tuple[Member, int, str], ValignError] = {}
        self._filling: dict[tuple[Member, str], asyncio.Task[None]] = {}
        self._unfilled: dict[tuple[Member, str], Pause] = {}

    async def describe(self) -> GeneratorInfo:
        """Identity of the model. PreconditionError: the replicas serve different ones, and this is the first
        question; from then on only those with the first answer's model are given work."""
        waiter = self._waiter()
        while True:
            serving = await self._looked_at()
            mine = [member for member in serving if self._serves_mine(member)]
            if not mine and len(serving) == len(self._fleet.members):
                # Every one has changed its model: the caller is told which it is now.
                mine = serving
            if mine:
                break
            await waiter.pause(NotReadyError(self._fleet.why_none()))
        check_one_model(mine)
        info = mine[0].info_now()
        self._fingerprint = self._fingerprint or info.fingerprint
        return info

    async def generate(
        self, items: Sequence[GenerationItem], adapter: str = ""
    ) -> AsyncGenerator[Completion, None]:
        """Completions in the order in which they end, each key once.

        NotFoundError: this object has not loaded the adapter, and not every replica holds it.
        """
        await self._check_loaded(adapter)
        write = wire.generate_writer(adapter)
        async with aclosing(self._each(items, self._fit_for(adapter), wire.GENERATE, write)) as replies:
            async for reply in replies:
                yield wire.completion(reply)

    async def generate_routed(
        self, items: Sequence[GenerationItem], route: str
    ) -> AsyncGenerator[Completion, None]:
        """As ``generate``, by whatever adapter a public name serves on the replica that answers."""
        write = wire.routed_writer(route)
        async with aclosing(self._each(items, _Plain(self), wire.GENERATE, write)) as replies:
            async for reply in replies:
                yield wire.completion(reply)

    async def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]:
        """Log-probabilities in the order in which they are known, each key once; else as ``generate``."""
        await self._check_loaded(adapter)
        write = wire.score_writer(adapter)
        async with aclosing(self._each(items, self._fit_for(adapter), wire.SCORE, write)) as replies:
            async for reply in replies:
                yield wire.score(reply)

    async def load_adapter(self, adapter: AdapterRef) -> SwapProof:
        """Load and prove on every replica that serves; the proof is the worst of theirs.

        A replica that is away is left out, as is one that refuses the adapter while others prove it: neither
        is given its work. OverloadedError: one has no slot free. PreconditionError: every one refuses it.
        """
        self._wanted[adapter.name] = adapter
        self._unloaded.discard(adapter.name)
        waiter = self._waiter()
        while True:
            members = [member for member in await self._serving() if self._serves_mine(member)]
            said = await asyncio.gather(*(self._load(member, adapter) for member in members))
            proofs = [one for one in said if isinstance(one, SwapProof)]
            errors = [one for one in said if isinstance(one, ValignError)]
            for error in errors:
                # Room is made for it by whoever asked; a leader whose time is over is told so.
                if error.code is ErrorCode.OVERLOADED or "known_epoch" in error.details:
                    raise error
            if proofs:
                return _worst(proofs)
            for error in errors:
                if error.code not in _AWAY:
                    raise error
            await waiter.pause(errors[0] if errors else NotReadyError(self._fleet.why_none()))

    async def unload_adapter(self, name: str) -> None:
        """Remove an adapter everywhere; one that is not there, or a replica that is away, is no error.

        A replica that is being filled with it removes it once it is loaded, which nobody waits for: a
        generator goes on with a load whose caller leaves.
        """
        self._wanted.pop(name, None)
        self._unloaded.add(name)
        self._unfilled = {key: one for key, one in self._unfilled.items() if key[1] != name}
        await asyncio.gather(*(self._unload(member, name) for member in await self._serving()))

    async def list_adapters(self) -> list[tuple[str, str]]:
        """Names and sha256 of what any replica that serves holds, or is being filled with."""
        held = {pair for member in await self._looked_at() for pair in member.held.items()}
        coming = {self._wanted[name] for _, name in self._filling if name in self._wanted}
        return sorted(held | {(one.name, one.sha256) for one in coming})

    # What a call needs of a replica

    def _serves_mine(self, member: Member) -> bool:
        known = member.info.fingerprint if member.info is not None else ""
        return not self._fingerprint or known == self._fingerprint

    async def _check_loaded(self, adapter: str) -> None:
        """An adapter of which nothing but the name is known here must be everywhere: it could be brought to
        no replica that lacks it. Whoever asks loads it then, which is no work where it is loaded."""
        if not adapter or adapter in self._wanted:
            return
        lacking = [
            member.target
            for member in await self._serving()
            if self._serves_mine(member) and adapter not in member.held
        ]
        if lacking:
            raise NotFoundError(f"adapter {adapter} is not loaded on {', '.join(lacking[:3])}; load it")

    def _fit_for(self, adapter: str) -> Fitness:
        return _Holding(self, adapter) if adapter else _Plain(self)

    def _holds(self, member: Member, name: str) -> bool:
        held, wanted = member.held.get(name), self._wanted.get(name)
        if held is not None and (wanted is None or wanted.sha256 == held):
            return True
        if wanted is not None and (member, member.incarnation, name) not in self._refused:
            self._fill(member, wanted)
        return False

    def _why_unfilled(self, name: str) -> str:
        """What the replicas said last that could not take the adapter."""
        said = [
            f"{member.target}: {one.error.message}"
            for (member, filled), one in self._unfilled.items()
            if filled == name and member in self._fleet.serving
        ]
        return "; ".join(said[:3])

    def _fill(self, member: Member, adapter: AdapterRef) -> None:
        key = (member, adapter.name)
        before = self._unfilled.get(key)
        if key in self._filling or (before is not None and not before.over):
            return

        async def fill() -> None:
            try:
                said = await self._load(member, adapter)
                if adapter.name not in self._wanted:
                    # Unloaded everywhere since this began. Whatever was heard of the load, it may be there.
                    await self._take_out(member, adapter.name)
                    return
            finally:
                del self._filling[key]
            if isinstance(said, SwapProof):
                self._unfilled.pop(key, None)
                log.info("replica.filled", target=member.target, adapter=adapter.name)
                self._fleet.tell()
                return
            self._unfilled[key] = pause_after(
                before, said, self._fleet.tell, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S
            )
            log.info("replica.not_filled", target=member.target, adapter=adapter.name, reason=said.message)

        self._filling[key] = asyncio.create_task(fill())

    async def _load(self, member: Member, adapter: AdapterRef) -> SwapProof | ValignError:
        """What came of it. A refusal is remembered until the replica is another process."""
        incarnation = member.incarnation
        try:
            try:
                return await member.load(adapter)
            except OverloadedError:
                if not await self._make_room(member):
                    raise
                return await member.load(adapter)
        except ValignError as error:
            if error.code in _AWAY:
                self._fleet.suspect(member, error)
            elif error.code is not ErrorCode.OVERLOADED:
                self._refused[member, incarnation, adapter.name] = error
                log.warning(
                    "replica.refused", target=member.target, adapter=adapter.name, reason=error.message
                )
            return error

    async def _unload(self, member: Member, name: str) -> None:
        try:
            await member.unload(name)
        except ValignError as error:
            if error.code not in _AWAY:
                raise
            self._fleet.suspect(member, error)

    async def _take_out(self, member: Member, name: str) -> None:
        try:
            await self._unload(member, name)
        except ValignError as error:
            log.warning("replica.left_loaded", target=member.target, adapter=name, reason=error.message)

    async def _make_room(self, member: Member) -> bool:
        """Unload what was unloaded everywhere else while this replica was away."""
        stale = self._unloaded & member.held.keys()
        for name in stale:
            await member.unload(name)
        return bool(stale)

    async def _serving(self) -> list[Member]:
        """Replicas that serve, waited for."""
        waiter = self._waiter()
        while not (serving := self._fleet.serving):
            await waiter.pause(NotReadyError(self._fleet.why_none()))
        return serving

    async def _looked_at(self) -> list[Member]:
        """Replicas that serve, each just asked."""
        waiter = self._waiter()
        while True:
            members = await self._serving()
            await asyncio.gather(*(member.look() for member in members))
            if serving := [member for member in members if member in self._fleet.serving]:
                return serving
            self._fleet.tell()
            await waiter.pause(NotReadyError(self._fleet.why_none()))

    def _waiter(self) -> Waiter:
        return Waiter(SERVICE, self._patience, self._on_waiting)

    async def _each(
        self,
        items: Sequence[Item],
        fitness: Fitness,
        rpc: Callable[[Any], Callable[..., Any]],
        write: Callable[[Sequence[Item]], Iterator[Any]],
    ) -> AsyncGenerator[Any, None]:
        asked: Mapping[str, Item] = {item.key: item for item in items}
        dispatch = Dispatch(
            self._fleet, fitness, asked, lambda one: rpc(one.stub), write, self._waiter(), self._window
        )
        async with aclosing(dispatch.replies()) as replies:
            async for reply in replies:
                yield reply


class _Plain:
    """Any replica with the run's base model."""

    def __init__(self, of: FleetGenerator) -> None:
        self._of = of

    def fits(self, member: Member) -> bool:
        return self._of._serves_mine(member)

    def lost(self, member: Member) -> None:
        """The base model is never lost."""

    def reason(self) -> ValignError:
        return NotReadyError(self._of._fleet.why_none())


class _Holding(_Plain):
    """A replica that has proven the adapter."""

    def __init__(self, of: FleetGenerator, adapter: str) -> None:
        super().__init__(of)
        self._adapter = adapter

    def fits(self, member: Member) -> bool:
        return super().fits(member) and self._of._holds(member, self._adapter)

    def lost(self, member: Member) -> None:
        member.held.pop(self._adapter, None)

    def reason(self) -> ValignError:
        of, name = self._of, self._adapter
        mine = [member for member in of._fleet.serving if of._serves_mine(member)]
        if name not in of._wanted and mine:
            raise NotFoundError(f"adapter {name} is loaded on no replica that serves; load it")
        refused = [
            of._refused[key] for member in mine if (key := (member, member.incarnation, name)) in of._refused
        ]
        if refused and len(refused) == len(mine) == len(of._fleet.members):
            raise refused[0]
        if mine and not refused:
            said = of._why_unfilled(name)
            return NotReadyError(
                f"adapter {name} can be loaded nowhere now ({said})"
                if said
                else f"adapter {name} is being proven"
            )
        return NotReadyError(of._fleet.why_none())


def _worst(proofs: Sequence[SwapProof]) -> SwapProof:
    """What holds on every replica."""
    nearest = max(proofs, key=lambda one: one.max_relative_error / one.tolerance)
    return SwapProof(
        canaries=min(one.canaries for one in proofs),
        max_relative_error=nearest.max_relative_error,
        tolerance=nearest.tolerance,
        mean_shift_nats=min(one.mean_shift_nats for one in proofs),
        duration_s=max(one.duration_s for one in proofs),
        already_loaded=all(one.already_loaded for one in proofs),
    )
