"""Which adapters the engine holds: load with proof, lease, drain, unload.

A name stands for one content for ever: vLLM's prefix cache keys on the name, so that a name
used twice would serve state computed with the old weights. An integer id is never used twice
either. Adapters live in one incarnation of the engine: a restart loses them all.
"""

import asyncio
import itertools
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    ConflictError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ValignError,
)
from services.generator.adapter_files import check_adapter
from services.generator.canary import prove
from services.generator.metrics import ADAPTER_LOADS, ADAPTERS, SWAP_SECONDS
from services.generator.types import (
    AdapterMeta,
    AdapterStatus,
    CanaryProof,
    Engine,
    LoadResult,
    LoraHandle,
    Score,
)

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


# Two leases of one adapter are two: compared by identity.
@dataclass(slots=True, eq=False)
class Lease:
    """One call's hold on an adapter (``lora`` None: the base model), in the adapter's own ``leases``."""

    lora: LoraHandle | None = None
    sha256: str = ""
    in_flight: int = 0
    leases: "list[Lease] | None" = None
    idle: asyncio.Event | None = None

    @property
    def name(self) -> str:
        """The adapter's name; empty for the base model."""
        return self.lora.name if self.lora else ""


@dataclass(slots=True)
class _Loaded:
    lora: LoraHandle
    sha256: str
    rank: int
    proof: CanaryProof
    incarnation: int
    leases: list[Lease] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    unloading: asyncio.Task[int] | None = None

    def status(self) -> AdapterStatus:
        in_flight = sum(lease.in_flight for lease in self.leases)
        return AdapterStatus(self.lora.name, self.sha256, self.rank, in_flight)


class Adapters:
    """The adapters of one engine. Not thread-safe: lives in one event loop.

    Args:
        engine: where they are loaded.
        store: where they come from.
        cache: folder for fetched adapters, this process's own; emptied as adapters leave.
        max_bytes: largest adapter.
        tolerance: relative error that a canary may show.
    """

    def __init__(
        self, engine: Engine, store: ArtifactStore, cache: Path, *, max_bytes: int, tolerance: float
    ) -> None:
        self._engine = engine
        self._store = store
        self._cache = cache
        self._max_bytes = max_bytes
        self._tolerance = tolerance
        self._ids = itertools.count(1)
        self._loaded: dict[str, _Loaded] = {}
        self._loads: dict[str, tuple[str, asyncio.Task[LoadResult]]] = {}
        self._content: dict[str, str] = {}
        self._adding = asyncio.Lock()
        for outcome in ("loaded", "failed", *(code.value.lower() for code in ErrorCode)):
            ADAPTER_LOADS.labels(outcome)

    async def load(self, name: str, uri: str, sha256: str) -> LoadResult:
        """Fetch, check, load and prove an adapter; what is loaded already answers at once.

        Concurrent calls for the same adapter share one load, which goes on if a caller leaves.

        Raises:
            InvalidInputError: name or sha256 is malformed, or the URI is outside the store.
            NotFoundError: nothing there.
            ConflictError: the name stands for another content.
            PreconditionError: refused by a check, by the engine, or by the proof.
            OverloadedError: all slots are taken.
            NotReadyError: the engine is not running, or the adapter is being unloaded.
        """
        started = time.perf_counter()
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name!r} is no adapter name: letters, digits, '.', '_', '-', at most 200"
            )
        if not _SHA256.fullmatch(sha256):
            raise InvalidInputError(f"{sha256!r} is no sha256 in lower-case hex")
        info = self._engine.info  # NotReadyError while there is no engine
        known = self._content.get(name)
        if known is not None and known != sha256:
            raise ConflictError(
                f"adapter name {name} stands for sha256 {known[:12]}…, not {sha256[:12]}…;"
                " a name is never used twice"
            )
        entry = self._current(name)
        if entry is not None:
            if entry.unloading is not None:
                raise NotReadyError(f"adapter {name} is being unloaded; load it again when that has ended")
            return LoadResult(entry.status(), entry.proof, True, time.perf_counter() - started)
        running = self._loads.get(name)
        if running is None:
            if len(self._loaded) + len(self._loads) >= info.max_cpu_loras:
                raise OverloadedError(
                    f"all {info.max_cpu_loras} adapter slots are taken by"
                    f" {', '.join(sorted({*self._loaded, *self._loads}))}; unload one, or raise"
                    " VALIGN_GENERATOR_MAX_CPU_LORAS"
                )
            task = asyncio.create_task(self._load(name, uri, sha256, started))
            running = (sha256, task)
            self._loads[name] = running
            task.add_done_callback(lambda _: self._loads.pop(name, None))
        if running[0] != sha256:
            raise ConflictError(f"adapter {name} is being loaded with another sha256 ({running[0][:12]}…)")
        return await asyncio.shield(running[1])

    async def unload(self, name: str) -> int:
        """Take no new calls, wait for those in flight, remove; returns how many requests were in flight.

        The removal goes on if the caller leaves; a second call waits for the same removal.

        Raises:
            NotFoundError: no such adapter.
        """
        entry = self._current(name)
        if entry is None:
            raise NotFoundError(f"no adapter {name} is loaded")
        if entry.unloading is None:
            entry.unloading = asyncio.create_task(self._unload(entry))
        return await asyncio.shield(entry.unloading)

    async def loaded(self) -> list[AdapterStatus]:
        """What the engine says it holds, as far as it is proven, by name."""
        held = frozenset.intersection(*await self._engine.list_loras())
        present = [entry for entry in self._entries() if entry.lora.lora_id in held]
        return sorted((entry.status() for entry in present), key=lambda status: status.name)

    @contextmanager
    def lease(self, name: str) -> Iterator[Lease]:
        """Hold an adapter for one call; an empty name is the base model.

        Raises:
            NotFoundError: not loaded, or being unloaded.
        """
        lease = self.take(name)
        try:
            yield lease
        finally:
            self.give_back(lease)

    def take(self, name: str) -> Lease:
        """As ``lease``, for a call whose end is elsewhere: ``give_back`` must follow, whatever happens."""
        if not name:
            return Lease()
        entry = self._current(name)
        if entry is None or entry.unloading is not None:
            raise NotFoundError(
                f"no adapter {name} is loaded; load it first, or send an empty name for the base model"
            )
        lease = Lease(entry.lora, entry.sha256, leases=entry.leases, idle=entry.idle)
        entry.leases.append(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        """The end of a lease."""
        if lease.leases is None or lease.idle is None:
            return
        lease.leases.remove(lease)
        if not lease.leases:
            lease.idle.set()

    def serves(self, name: str) -> bool:
        """Whether an adapter takes calls: loaded, proven and not on its way out."""
        entry = self._current(name)
        return entry is not None and entry.unloading is None

    def serving(self) -> list[AdapterStatus]:
        """Those that take calls, by name, as far as this process knows without asking the engine."""
        taking = [entry.status() for entry in self._entries() if entry.unloading is None]
        return sorted(taking, key=lambda status: status.name)

    def forget_all(self) -> None:
        """The engine is gone and its adapters with it; callers must load them again."""
        for entry in self._loaded.values():
            shutil.rmtree(entry.lora.folder, ignore_errors=True)
        self._loaded.clear()
        ADAPTERS.set(0)

    def _entries(self) -> list[_Loaded]:
        return [e for e in self._loaded.values() if e.incarnation == self._engine.incarnation]

    def _current(self, name: str) -> _Loaded | None:
        entry = self._loaded.get(name)
        return entry if entry is not None and entry.incarnation == self._engine.incarnation else None

    async def _load(self, name: str, uri: str, sha256: str, started: float) -> LoadResult:
        outcome = "failed"
        lora_id = next(self._ids)
        folder = self._cache / f"{lora_id}-{sha256[:16]}"
        try:
            entry = await self._load_and_prove(LoraHandle(name, lora_id, folder), uri, sha256)
            self._loaded[name] = entry
            ADAPTERS.set(len(self._loaded))
            duration_s = time.perf_counter() - started
            SWAP_SECONDS.observe(duration_s)
            outcome = "loaded"
            log.info("adapter.loaded", name=name, lora_id=lora_id, duration_s=round(duration_s, 3))
            return LoadResult(entry.status(), entry.proof, False, duration_s)
        except ValignError as error:
            outcome = error.code.value.lower()
            log.warning("adapter.refused", name=name, code=error.code.value, reason=error.message)
            raise
        finally:
            if outcome != "loaded":
                shutil.rmtree(folder, ignore_errors=True)
            ADAPTER_LOADS.labels(outcome).inc()

    async def _load_and_prove(self, lora: LoraHandle, uri: str, sha256: str) -> _Loaded:
        engine, info = self._engine, self._engine.info
        incarnation = engine.incarnation
        manifest = await asyncio.to_thread(
            self._store.fetch_folder, uri, sha256, lora.folder, max_bytes=self._max_bytes
        )
        meta = await asyncio.to_thread(
            check_adapter, lora.name, lora.folder, manifest.files, manifest.meta, info
        )
        self._content[lora.name] = sha256
        try:
            await self._add(lora)
            proof = await self._prove(lora, meta)
            if engine.incarnation != incarnation:
                raise NotReadyError("the engine was restarted while the adapter was loaded; try again")
        except BaseException:
            await self._roll_back(lora)
            raise
        return _Loaded(lora, sha256, meta.rank, proof, incarnation)

    async def _add(self, lora: LoraHandle) -> None:
        """Load it, unless the engine itself holds as many as it may: the slot behind them stays empty."""
        async with self._adding:
            held = max(await self._engine.list_loras(), key=len)
            limit = self._engine.info.max_cpu_loras
            if len(held) >= limit:
                raise OverloadedError(
                    f"the engine holds {len(held)} adapters, the most that it may ({limit}); unload one, or"
                    " restart the generator if it lists fewer"
                )
            await self._engine.add_lora(lora)

    async def _prove(self, lora: LoraHandle, meta: AdapterMeta) -> CanaryProof:
        """Every copy of the model is proven; the proof nearest to its limit stands for all."""
        canaries, copies = meta.canaries, self._engine.info.copies
        asked = [
            (canary, handle, copy) for copy in range(copies) for handle in (lora, None) for canary in canaries
        ]
        # All of them end before any error is raised: a request that is still in the engine when the adapter
        # is removed would make vLLM load it again, from a folder that is gone.
        answers = await asyncio.gather(
            *(self._engine.score(c.prompt, c.continuation, handle, copy) for c, handle, copy in asked),
            return_exceptions=True,
        )
        scores: list[Score] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            scores.append(answer)
        proofs = []
        for copy in range(copies):
            start = 2 * copy * len(canaries)
            middle, end = start + len(canaries), start + 2 * len(canaries)
            name = lora.name if copies == 1 else f"{lora.name} (in copy {copy} of the model)"
            proofs.append(prove(name, canaries, scores[start:middle], scores[middle:end], self._tolerance))
        return max(proofs, key=lambda proof: proof.max_relative_error / proof.tolerance)

    async def _roll_back(self, lora: LoraHandle) -> None:
        try:
            await self._engine.remove_lora(lora)
        except NotReadyError:
            # A dead engine holds nothing.
            log.info("adapter.rolled_back_by_restart", name=lora.name)

    async def _unload(self, entry: _Loaded) -> int:
        drained = entry.status().in_flight
        name = entry.lora.name
        try:
            while entry.leases:
                entry.idle.clear()
                await entry.idle.wait()
            if entry.incarnation == self._engine.incarnation:
                await self._engine.remove_lora(entry.lora)
        except NotReadyError:
            log.info("adapter.unloaded_by_restart", name=name)
        except BaseException:
            entry.unloading = None
            raise
        if self._loaded.get(name) is entry:
            del self._loaded[name]
        ADAPTERS.set(len(self._loaded))
        shutil.rmtree(entry.lora.folder, ignore_errors=True)
        log.info("adapter.unloaded", name=name, drained=drained)
        return drained
