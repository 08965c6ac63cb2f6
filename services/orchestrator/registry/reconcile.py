"""The leader's work: bring every generator replica to what the registry wants of it.

Each pass looks at every replica, loads and proves the adapters that the routes name, moves the routes where
all of them are proven, and unloads what was replaced. It remembers nothing between passes but what the
database holds, so that a new leader goes on where the last one was.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from services.common.errors import ValignError
from services.orchestrator.registry import metrics
from services.orchestrator.registry.loading import Loader
from services.orchestrator.registry.ports import Replica, ReplicaFacts
from services.orchestrator.registry.records import (
    AdapterRecord,
    AdapterState,
    ReplicaAdapter,
    ReplicaRecord,
    ReplicaState,
    Route,
    RouteRecord,
)
from services.orchestrator.registry.views import holds_back
from services.orchestrator.store.registry import SqlRegistry

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_S = 60.0
# What a promotion has just loaded is not in a route yet.
_GRACE = timedelta(seconds=120)


@dataclass(slots=True)
class _Seen:
    """One replica in one pass. ``facts`` is None if it does not answer."""

    replica: Replica
    record: ReplicaRecord
    facts: ReplicaFacts | None = None
    routes: dict[str, Route | None] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        return self.replica.target

    def ready_for(self, route: Route) -> bool:
        return self.facts is not None and route.adapters <= self.proven

    def serves(self, route: Route) -> bool:
        found = self.routes.get(route.name)
        return found is not None and found.version == route.version


class Reconciler:
    """One pass at a time: ``step``, which only the leader may call."""

    def __init__(self, registry: SqlRegistry, replicas: Sequence[Replica]) -> None:
        self._registry = registry
        self._replicas = replicas
        self._loader = Loader(registry)

    async def step(self) -> None:
        """One pass. Failures of a replica are written down, and concern no other one."""
        routes = await asyncio.to_thread(self._registry.routes.all)
        wanted = frozenset[str]().union(*(route.adapters for route in routes))
        records = await asyncio.to_thread(self._registry.named, wanted)
        replicas = tuple(self._replicas)
        await asyncio.to_thread(self._registry.replicas.keep_only, [one.target for one in replicas])
        before = {one.target: one for one in await asyncio.to_thread(self._registry.replicas.records)}
        rows = await self._rows()

        async def bring(replica: Replica) -> _Seen:
            found = await self._look(replica, before.get(replica.target), routes)
            await self._bring(found, before.get(replica.target), [records[n] for n in sorted(records)], rows)
            return found

        seen = list(await asyncio.gather(*(bring(replica) for replica in replicas)))
        for route in routes:
            await self._move(await self._not_behind(route, seen), seen)
        await asyncio.gather(*(self._tidy(one, routes, wanted) for one in seen))
        for one in seen:
            await asyncio.to_thread(self._registry.replicas.seen, _as_record(one))
        _tell(routes, seen, await asyncio.to_thread(self._registry.counts))

    async def _rows(self) -> dict[tuple[str, str], ReplicaAdapter]:
        found = await asyncio.to_thread(self._registry.replicas.adapters)
        return {(entry.target, entry.adapter): entry for entry in found}

    async def _look(self, replica: Replica, before: ReplicaRecord | None, routes: Sequence[Route]) -> _Seen:
        record = before or ReplicaRecord(replica.target, serving=False)
        try:
            facts = await replica.look()
            found = {route.name: await replica.route(route.name) for route in routes}
        except ValignError as error:
            return _Seen(replica, replace(record, serving=False, error=error.message))
        record = ReplicaRecord(replica.target, True, facts.base_fingerprint, seen_time=datetime.now(UTC))
        return _Seen(replica, record, facts, found)

    async def _bring(
        self,
        seen: _Seen,
        before: ReplicaRecord | None,
        adapters: Sequence[AdapterRecord],
        rows: Mapping[tuple[str, str], ReplicaAdapter],
    ) -> None:
        """Load what is missing, one after the other."""
        facts = seen.facts
        if facts is None:
            return
        # A replica that was away is another process now: what it refused before may be mended.
        new = before is None or not before.serving or before.base_fingerprint != facts.base_fingerprint
        for adapter in adapters:
            row = rows.get((seen.target, adapter.name))
            held = facts.adapters.get(adapter.name) == adapter.sha256
            if held and row is not None and row.state is ReplicaState.PROVEN:
                seen.proven.add(adapter.name)
                continue
            attempt = _next_attempt(row, new=new)
            if attempt is None:
                if row is not None and row.reason:
                    seen.errors.append(f"{adapter.name}: {row.reason}")
                continue
            try:
                await self._loader.prove(seen.replica, facts, adapter, attempt)
            except ValignError as error:
                seen.errors.append(f"{adapter.name}: {error.message}")
            else:
                seen.proven.add(adapter.name)

    async def _not_behind(self, route: RouteRecord, seen: Sequence[_Seen]) -> RouteRecord:
        """The route, above every version that a replica has of it: a database that was restored from a
        backup wants what it wants, and would be refused as an old order."""
        served = [found for one in seen if (found := one.routes.get(route.name)) is not None]
        ahead = [
            found.version
            for found in served
            if found.version > route.version or (found.version == route.version and found != _bare(route))
        ]
        if not ahead:
            return route
        log.warning("route.behind_its_replicas", route=route.name, version=route.version, ahead=max(ahead))
        return await asyncio.to_thread(self._registry.routes.lift, route.name, route.version, max(ahead) + 1)

    async def _move(self, route: RouteRecord, seen: Sequence[_Seen]) -> None:
        if not any(one.serves(route) for one in seen):
            waiting = holds_back(
                route,
                {one.target: one.ready_for(route) for one in seen if one.facts is not None},
                [one.target for one in seen if one.facts is None],
                (await self._rows()).values(),
                await asyncio.to_thread(self._registry.routes.history, route.name),
            )
            if waiting:
                log.info("route.waits", route=route.name, version=route.version, waiting=waiting)
                return
        for one in seen:
            if one.serves(route) or not one.ready_for(route):
                continue
            try:
                await one.replica.set_route(_bare(route))
            except ValignError as error:
                one.errors.append(f"route {route.name}: {error.message}")
            else:
                one.routes[route.name] = _bare(route)
                log.info("route.moved", route=route.name, version=route.version, target=one.target)

    async def _tidy(self, seen: _Seen, routes: Sequence[Route], wanted: frozenset[str]) -> None:
        """Unload what was replaced or refused, once every route has moved here; forget what is not there."""
        facts = seen.facts
        if facts is None or not all(seen.routes.get(route.name) is not None for route in routes):
            return
        # As it is now: a promotion may have moved a route since this pass began.
        wanted = wanted | await asyncio.to_thread(self._registry.routed)
        wanted |= frozenset().union(*(found.adapters for found in seen.routes.values() if found))
        rows = {name: row for (target, name), row in (await self._rows()).items() if target == seen.target}
        known = await asyncio.to_thread(self._registry.named, list(facts.adapters))
        open_runs = await asyncio.to_thread(self._registry.open_runs)
        for name in sorted(facts.adapters.keys() - wanted):
            record = known.get(name)
            if record is None or record.run_id in open_runs or _recent(rows.get(name)):
                continue
            if record.state in (AdapterState.RETIRED, AdapterState.REJECTED) or record.prune_time is not None:
                try:
                    await self._loader.unload(seen.replica, name)
                except ValignError as error:
                    seen.errors.append(f"{name} could not be unloaded: {error.message}")
        for name, row in rows.items():
            gone = name not in facts.adapters and name not in wanted and not _recent(row)
            # A failure stays, so that people can read why.
            if gone and row.state is not ReplicaState.FAILED:
                await asyncio.to_thread(self._registry.replicas.forget, seen.target, name)


def _next_attempt(row: ReplicaAdapter | None, *, new: bool) -> int | None:
    """Which attempt to load an adapter is due now; None for none."""
    if row is None or row.state is ReplicaState.PROVEN or new:
        return 1
    if row.state is ReplicaState.FAILED:
        return None
    pause_s = min(_LONGEST_PAUSE_S, 2.0**row.attempts)
    if row.reason and row.update_time is not None:
        due = datetime.now(UTC) - row.update_time >= timedelta(seconds=pause_s)
        return row.attempts + 1 if due else None
    # It was being loaded when this process, or another one, went away; loading twice is harmless.
    return max(1, row.attempts)


def _recent(row: ReplicaAdapter | None) -> bool:
    return row is not None and row.update_time is not None and datetime.now(UTC) - row.update_time < _GRACE


def _bare(route: Route) -> Route:
    return Route(route.name, route.adapter, route.canary_adapter, route.canary_share, route.version)


def _as_record(seen: _Seen) -> ReplicaRecord:
    if seen.facts is None:
        return seen.record
    served = {name: found.version for name, found in seen.routes.items() if found is not None}
    return replace(seen.record, routes=served, error="; ".join(seen.errors))


def _tell(routes: Sequence[Route], seen: Sequence[_Seen], adapters: Mapping[AdapterState, int]) -> None:
    for state, count in adapters.items():
        metrics.ADAPTERS.labels(state.value).set(count)
    away = sum(one.facts is None for one in seen)
    metrics.REPLICAS.labels("serving").set(len(seen) - away)
    metrics.REPLICAS.labels("away").set(away)
    for route in routes:
        metrics.ROUTE_VERSION.labels(route.name).set(route.version)
        metrics.REPLICAS_PROVEN.labels(route.name).set(sum(one.ready_for(route) for one in seen))
        metrics.REPLICAS_SERVING.labels(route.name).set(sum(one.serves(route) for one in seen))
