"""Which adapters may be pruned. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.orchestrator.registry.records import AdapterRecord, AdapterState

PRUNABLE = frozenset({AdapterState.TRAINED, AdapterState.PROVEN, AdapterState.RETIRED, AdapterState.REJECTED})
HISTORY_KEPT = 5
"""Entries of each route's history whose adapters are kept: what a roll-back can reach in an instant."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept: the newest ``keep`` adapters, and those that changed within ``max_age``."""

    keep: int = 20
    max_age: timedelta = timedelta(days=30)


def prunable(
    adapters: Sequence[AdapterRecord],
    *,
    referred: Collection[str],
    open_runs: Collection[str],
    retention: Retention,
    now: datetime,
) -> list[AdapterRecord]:
    """Adapters whose files may go, oldest first.

    An adapter stays if it is promoted or a candidate, if something refers to it (``referred``: routes,
    canaries, the last entries of routes' histories), if its run has not ended (``open_runs``: that run may
    continue training from it), if it is one of the newest ``keep`` by its last change, or if it changed
    within ``max_age``. What is pruned already is not counted.
    """
    present = [adapter for adapter in adapters if adapter.prune_time is None]
    by_age = sorted(present, key=lambda adapter: (adapter.update_time, adapter.name))
    old = by_age[: max(0, len(by_age) - retention.keep)]
    return [
        adapter
        for adapter in old
        if adapter.state in PRUNABLE
        and adapter.name not in referred
        and adapter.run_id not in open_runs
        and now - adapter.update_time > retention.max_age
    ]
