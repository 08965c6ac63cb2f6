"""Promotion without anybody's word, where the study asks for it and the gate says promote."""

import asyncio

import structlog

from services.common.errors import NotFoundError, ValignError
from services.orchestrator.listing import MAX_PAGE_SIZE
from services.orchestrator.ports import RunStatus, RunStore
from services.orchestrator.registry.records import AdapterRecord, AdapterState
from services.orchestrator.registry.service import Registry
from services.orchestrator.store.registry import SqlRegistry
from services.orchestrator.study_sections import PromotionSettings

log = structlog.get_logger(__name__)


class Automatic:
    """Tries each candidate once: what comes of it stands in the adapter's history, and a person goes on."""

    def __init__(self, registry: Registry, store: SqlRegistry, runs: RunStore) -> None:
        self._registry = registry
        self._store = store
        self._runs = runs

    async def step(self) -> None:
        """Promote what is due, the oldest first. Waits while a replica does not answer."""
        found, _ = await asyncio.to_thread(self._store.page, AdapterState.CANDIDATE, "", MAX_PAGE_SIZE)
        for candidate in sorted(found, key=lambda one: one.update_time):
            settings = await asyncio.to_thread(self._due, candidate)
            if settings is not None:
                await self._promote(candidate, settings)

    def _due(self, candidate: AdapterRecord) -> PromotionSettings | None:
        if candidate.approval_required or self._registry.require_approval:
            return None
        try:
            run = self._runs.get_run(candidate.run_id)
        except NotFoundError:
            return None
        settings = PromotionSettings.model_validate(run.study.get("promotion") or {})
        if run.status is not RunStatus.SUCCEEDED or not settings.automatic:
            return None
        # A second entry as a candidate tells that it was tried.
        tried = [change.state for change in self._store.history(candidate.name)][-2:]
        if tried == [AdapterState.CANDIDATE] * 2:
            return None
        seen = self._store.replicas.records()
        return settings if seen and all(replica.serving for replica in seen) else None

    async def _promote(self, candidate: AdapterRecord, settings: PromotionSettings) -> None:
        name, share = candidate.name, settings.canary_share
        try:
            if share is None:
                await self._registry.promote(name, settings.route)
                return
            await self._registry.set_canary(settings.route, name, share)
            said = f"canary of route {settings.route} with a share of {share:g}, as the study asks"
        except ValignError as error:
            log.warning("adapter.not_promoted", name=name, code=error.code.value, reason=error.message)
            said = f"not promoted by itself: {error.message}"
        await asyncio.to_thread(self._store.note, name, said)
