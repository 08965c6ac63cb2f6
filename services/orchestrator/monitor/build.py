"""Monitors, put together: what people call, and what the leader does."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from services.common.artifacts import ArtifactStore
from services.common.errors import NotReadyError
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.clients.openai import OpenAIGenerator, key_for
from services.orchestrator.clients.patience import Patience
from services.orchestrator.monitor.leading import Monitoring
from services.orchestrator.monitor.live.judging import LiveJudge
from services.orchestrator.monitor.live.reading import LiveReading
from services.orchestrator.monitor.live.records import Traffic
from services.orchestrator.monitor.live.redaction import load_hook
from services.orchestrator.monitor.measurer import Measurer
from services.orchestrator.monitor.opening import CreateRun, Opener
from services.orchestrator.monitor.service import Monitors
from services.orchestrator.monitor.sources import EndpointSource, Routed, RouteSource, Source
from services.orchestrator.ports import Embedder
from services.orchestrator.records import RunRecord
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.study_sections import EndpointSettings


class MonitorTasks:
    """``monitors`` is for everybody; ``lead`` runs until it is cancelled, in one process at a time.

    A monitor can open a run once ``runs_with`` was told how.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        store: SqlRunStore,
        artifacts: ArtifactStore,
        generator: Callable[[Patience], Routed],
        embedder: Embedder,
        replicas: Collection[Traffic],
        live_embedder: Embedder,
    ) -> None:
        """``live_embedder`` is for texts of people, of which no row may be kept beside ours."""
        self._settings = settings
        self._store = store
        self._generator = generator
        self._embedder = embedder
        self._replicas = replicas
        self._live_embedder = live_embedder
        # At once: a hook that is not there must not be met by the first exchange.
        self._redact = load_hook(settings.live_redaction)
        self._endpoints = EndpointHosts(settings.allowed_endpoint_hosts)
        self._monitoring: Monitoring | None = None
        self._create_run: CreateRun = _nobody_runs
        self.monitors = Monitors(store.platform.monitors, artifacts, self._endpoints, self._nudge)

    def runs_with(self, create_run: CreateRun) -> None:
        """How runs are begun: the application is built after this."""
        self._create_run = create_run

    async def lead(self, epoch: int) -> None:
        """Measure, over a store whose writes end with the epoch."""
        bound = self._store.bound(epoch)
        measuring = bound.platform.measuring
        measurer = Measurer(measuring, bound.registry, self._connect, self._embedder)
        self._monitoring = Monitoring(
            bound.platform.monitors,
            measuring,
            bound.registry,
            measurer,
            Opener(measuring, lambda study, key: self._create_run(study, key)),
            LiveJudge(bound.platform.live, bound.registry, self._live_embedder),
            concurrency=self._settings.monitor_concurrency,
            timeout_s=self._settings.monitor_timeout_s,
        )
        try:
            await self._monitoring.lead(epoch)
        finally:
            self._monitoring = None

    async def read_live(self, epoch: int) -> None:
        """Keep a share of what people ask by the watched names, over a store as above."""
        bound = self._store.bound(epoch)
        live, measuring = bound.platform.live, bound.platform.measuring
        await LiveReading(live, measuring, bound.registry, self._replicas, self._redact).lead(epoch)

    def _connect(self, document: Mapping[str, Any]) -> Source:
        target, settings = document["target"], self._settings
        if target["route"]:
            patience = Patience(wait_s=settings.monitor_wait_s, call_s=settings.call_timeout_s)
            return RouteSource(self._generator(patience), target["route"])
        endpoint = EndpointSettings.model_validate(target["endpoint"])
        # Again: the monitor may be older than the list.
        self._endpoints.check(endpoint.url)
        return EndpointSource(OpenAIGenerator(endpoint, key_for(endpoint.url, settings.endpoint_keys)))

    def _nudge(self) -> None:
        # Another process may lead: it looks each second.
        if self._monitoring is not None:
            self._monitoring.nudge()


async def _nobody_runs(study: str, key: str) -> tuple[RunRecord, bool]:
    raise NotReadyError("the orchestrator has not started yet")
