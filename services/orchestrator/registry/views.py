"""How far a route is, from what was last seen of the replicas. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from services.orchestrator.registry.records import (
    BASE,
    ReplicaAdapter,
    ReplicaRecord,
    ReplicaState,
    Route,
    RouteChange,
    RouteRecord,
    RouteView,
)

SETTLED, PENDING, FAILED = "settled", "pending", "failed"
NOT_SEEN = "it was not looked at yet"


def view_of(
    route: RouteRecord,
    targets: Sequence[str],
    seen: Iterable[ReplicaRecord],
    on_replicas: Iterable[ReplicaAdapter],
) -> RouteView:
    """The route with its state: settled if every configured replica serves it, failed if one cannot."""
    known = {record.target: record for record in seen}
    replicas = tuple(known.get(t) or ReplicaRecord(t, serving=False, error=NOT_SEEN) for t in targets)
    failed = [
        f"{entry.target} cannot load {entry.adapter}: {entry.reason}"
        for entry in on_replicas
        if entry.adapter in route.adapters and entry.target in targets and entry.state is ReplicaState.FAILED
    ]
    if failed:
        return RouteView(route, FAILED, "; ".join(failed), replicas)
    late = [
        f"{one.target} {_why_late(one, route)}" for one in replicas if not one.serving or _behind(one, route)
    ]
    return RouteView(route, PENDING if late else SETTLED, "; ".join(late), replicas)


def _behind(replica: ReplicaRecord, route: Route) -> bool:
    return replica.routes.get(route.name, 0) != route.version


def _why_late(replica: ReplicaRecord, route: Route) -> str:
    if not replica.serving:
        return f"does not answer ({replica.error})" if replica.error else "does not answer"
    version = replica.routes.get(route.name, 0)
    serves = f"serves version {version}" if version else "does not serve it yet"
    return f"{serves} ({replica.error})" if replica.error else serves


def holds_back(
    route: Route,
    ready: Mapping[str, bool],
    away: Iterable[str],
    on_replicas: Iterable[ReplicaAdapter],
    history: Sequence[RouteChange],
) -> list[str]:
    """Targets that a route's first move waits for.

    The first replica moves once every one has proven every adapter of the route. A replica that is away
    holds nothing back if it has proven them before, or if the route has served them before: going back must
    not wait for a dead machine, which follows when it comes back.

    Args:
        ready: whether each target that answers has proven every adapter of the route.
        away: the targets that do not answer.
        on_replicas: what was last written down of the adapters on the replicas.
        history: the route's.
    """
    proven = {(entry.target, entry.adapter) for entry in on_replicas if entry.state is ReplicaState.PROVEN}
    before = {BASE}
    for change in history:
        if change.version < route.version:
            before |= {change.adapter} | ({change.canary_adapter} if change.canary_share else set())
    waiting = [target for target, done in ready.items() if not done]
    for target in away:
        if any(name not in before and (target, name) not in proven for name in route.adapters):
            waiting.append(target)
    return sorted(waiting)
