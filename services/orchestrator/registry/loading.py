"""Loading an adapter on one replica, with what came of it written down where people look."""

import asyncio
from collections.abc import Collection
from dataclasses import asdict

import structlog

from services.common.errors import ErrorCode, OverloadedError, PreconditionError, ValignError
from services.orchestrator.ports import AdapterRef
from services.orchestrator.registry import metrics
from services.orchestrator.registry.ports import Replica, ReplicaFacts
from services.orchestrator.registry.records import (
    AdapterRecord,
    AdapterState,
    ReplicaAdapter,
    ReplicaState,
)
from services.orchestrator.store.registry import SqlRegistry

log = structlog.get_logger(__name__)

TERMINAL = frozenset(
    {
        ErrorCode.PRECONDITION,
        ErrorCode.NOT_FOUND,
        ErrorCode.INVALID_INPUT,
        ErrorCode.CONFLICT,
        ErrorCode.FORBIDDEN,
    }
)
"""What trying again does not cure."""

MAX_ATTEMPTS = 8
# Who makes room first.
_LEAVE_ORDER = (
    AdapterState.REJECTED,
    AdapterState.RETIRED,
    AdapterState.TRAINED,
    AdapterState.PROVEN,
    AdapterState.CANDIDATE,
)


class Loader:
    """Loads with proof, and makes room for it."""

    def __init__(self, registry: SqlRegistry) -> None:
        self._registry = registry

    async def prove(
        self, replica: Replica, facts: ReplicaFacts, adapter: AdapterRecord, attempt: int = 1
    ) -> None:
        """Load and prove; what is loaded already is proven by what was measured when it was loaded.

        A failure is written down, as failed if trying again does not help or ``attempt`` is the last one, and
        raised. PreconditionError: the replica has another base model, or another adapter of that name.
        """
        target = replica.target
        try:
            _check_fits(facts, adapter, target)
            await self._note(ReplicaAdapter(target, adapter.name, ReplicaState.LOADING, "", attempt))
            reference = AdapterRef(adapter.name, adapter.sha256, adapter.uri)
            try:
                proof = await replica.load(reference)
            except OverloadedError:
                if not await self.make_room(replica, keep={adapter.name}):
                    raise
                proof = await replica.load(reference)
        except ValignError as error:
            if "known_epoch" in error.details:
                # Another orchestrator leads: what it finds is what counts.
                raise
            metrics.ADAPTER_LOADS.labels(error.code.value.lower()).inc()
            over = error.code in TERMINAL or attempt >= MAX_ATTEMPTS
            state = ReplicaState.FAILED if over else ReplicaState.LOADING
            reason = error.message
            if over and error.code not in TERMINAL:
                reason = f"given up after {attempt} attempts: {error.message}"
            await self._note(ReplicaAdapter(target, adapter.name, state, reason, attempt))
            log.warning(
                "replica.load_failed", target=target, adapter=adapter.name, code=error.code.value, over=over
            )
            raise
        metrics.ADAPTER_LOADS.labels("proven").inc()
        await self._note(
            ReplicaAdapter(target, adapter.name, ReplicaState.PROVEN, "", attempt, asdict(proof))
        )
        log.info("replica.proven", target=target, adapter=adapter.name)

    async def make_room(self, replica: Replica, keep: Collection[str]) -> bool:
        """Unload one adapter that nobody needs there; False if there is none.

        That is one of the registry's that no route names and whose run has ended: first those that were
        rejected or retired, the oldest of them first.
        """
        held = (await replica.look()).adapters
        known = await asyncio.to_thread(self._registry.named, list(held))
        routed = await asyncio.to_thread(self._registry.routed)
        open_runs = await asyncio.to_thread(self._registry.open_runs)
        free = [
            record
            for record in known.values()
            if record.state in _LEAVE_ORDER
            and record.name not in routed
            and record.name not in keep
            and record.run_id not in open_runs
        ]
        if not free:
            return False
        first = min(free, key=lambda one: (_LEAVE_ORDER.index(one.state), one.update_time, one.name))
        await self.unload(replica, first.name)
        return True

    async def unload(self, replica: Replica, name: str) -> None:
        """Remove an adapter from a replica, and forget that it was there."""
        await replica.unload(name)
        await asyncio.to_thread(self._registry.replicas.forget, replica.target, name)
        log.info("replica.unloaded", target=replica.target, adapter=name)

    async def _note(self, entry: ReplicaAdapter) -> None:
        await asyncio.to_thread(self._registry.replicas.note, entry)


def _check_fits(facts: ReplicaFacts, adapter: AdapterRecord, target: str) -> None:
    if facts.base_fingerprint != adapter.base_fingerprint:
        raise PreconditionError(
            f"{target} serves another base model (fingerprint {facts.base_fingerprint[:12]}…) than the one"
            f" that adapter {adapter.name} was trained on ({adapter.base_fingerprint[:12]}…,"
            f" {adapter.base_model}); start it with that model"
        )
    held = facts.adapters.get(adapter.name)
    if held not in (None, adapter.sha256):
        raise PreconditionError(
            f"{target} holds another adapter under the name {adapter.name} (sha256 {str(held)[:12]}…, not"
            f" {adapter.sha256[:12]}…); restart it"
        )
