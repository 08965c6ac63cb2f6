"""The registry's parts, put together: what people call, and what the leader repeats."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from services.common.artifacts import ArtifactStore
from services.orchestrator.ports import RunStore
from services.orchestrator.registry.automatic import Automatic
from services.orchestrator.registry.ports import Replica
from services.orchestrator.registry.pruning import INTERVAL_S, Pruner
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.retention import Retention
from services.orchestrator.registry.service import Registry
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.store.registry import SqlRegistry


class RegistryTasks:
    """``registry`` is for everybody; ``leader_tasks`` run until they are cancelled, in one process at a time.

    Args:
        interval_s: seconds between two looks at the replicas, at most.
    """

    def __init__(
        self,
        store: SqlRegistry,
        runs: RunStore,
        artifacts: ArtifactStore,
        replicas: Sequence[Replica],
        retention: Retention,
        interval_s: float,
        *,
        require_approval: bool = False,
    ) -> None:
        pruner = Pruner(store, artifacts, retention)
        reconciler = Reconciler(store, replicas)
        reconciling = Ticker("reconcile", reconciler.step, interval_s)
        self.registry = Registry(
            store, replicas, pruner, on_change=reconciling.nudge, require_approval=require_approval
        )
        automatic = Automatic(self.registry, store, runs)
        self.leader_tasks: tuple[Callable[[int], Coroutine[Any, Any, None]], ...] = (
            reconciling.lead,
            Ticker("promote", automatic.step, interval_s).lead,
            Ticker("prune", pruner.prune, INTERVAL_S).lead,
        )
