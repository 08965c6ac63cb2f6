"""Removing old adapters, by the retention rule."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.orchestrator.registry import metrics
from services.orchestrator.registry.retention import HISTORY_KEPT, Retention, prunable
from services.orchestrator.store.registry import SqlRegistry

log = structlog.get_logger(__name__)

INTERVAL_S = 3600.0
# A process that died between the mark and the removal left files; whoever prunes next removes them.
_SWEPT = timedelta(days=2)


class Pruner:
    """Marks an adapter as pruned and then removes its files: one that is not marked has all of them."""

    def __init__(self, registry: SqlRegistry, artifacts: ArtifactStore, retention: Retention) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._retention = retention

    async def prune(self, *, dry_run: bool = False) -> list[str]:
        """Names of what was removed, or would be, oldest first."""
        return await asyncio.to_thread(self._prune, dry_run)

    def _prune(self, dry_run: bool) -> list[str]:
        now = datetime.now(UTC)
        found = prunable(
            self._registry.unpruned(),
            referred=self._registry.routes.referred(HISTORY_KEPT),
            open_runs=self._registry.open_runs(),
            retention=self._retention,
            now=now,
        )
        if dry_run:
            return [adapter.name for adapter in found]
        days = self._retention.max_age.total_seconds() / 86_400
        reason = f"pruned: not among the newest {self._retention.keep}, and unchanged for {days:g} days"
        pruned = []
        for adapter in found:
            if self._registry.claim_pruning(adapter.name, reason, HISTORY_KEPT):
                pruned.append(adapter.name)
                metrics.PRUNED.inc()
                log.info("adapter.pruned", name=adapter.name, state=adapter.state.value)
        # A run that was opened again may train what was pruned anew, under the same name.
        open_runs = self._registry.open_runs()
        for adapter in self._registry.pruned_since(now - _SWEPT):
            if adapter.run_id in open_runs:
                continue
            try:
                self._artifacts.delete(adapter.uri)
            except ValignError as error:
                # Outside this store: whoever put it there keeps it.
                log.warning("adapter.files_left", name=adapter.name, reason=error.message)
        return pruned
