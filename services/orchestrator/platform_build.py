"""Builds what serves the platforms around valign. Like ``__main__``, it knows the concrete classes."""

from collections.abc import Callable

from services.common.artifacts import ArtifactStore
from services.orchestrator.clients.patience import Patience
from services.orchestrator.embedders_build import Embedders
from services.orchestrator.generators_build import Generators
from services.orchestrator.monitor.build import MonitorTasks
from services.orchestrator.monitor.opening import CreateRun
from services.orchestrator.platform import Platform
from services.orchestrator.registry.service import Registry
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.service import Reviews
from services.orchestrator.settings import OrchestratorSettings, apply_mlflow_environment
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.tracking.leading import MirrorTask
from services.orchestrator.tracking.probe import MlflowProbe
from services.orchestrator.webhooks.build import WebhookTasks


def build_platform(
    settings: OrchestratorSettings,
    store: SqlRunStore,
    artifacts: ArtifactStore,
    registry: Registry,
    generators: Generators,
    embedders: Embedders,
) -> tuple[Platform, Callable[[CreateRun], None]]:
    """Every part, over one store; and who is to be told how runs are begun, once the application is there."""
    webhooks = WebhookTasks(settings, store)
    patience = Patience(wait_s=settings.monitor_wait_s, call_s=settings.call_timeout_s)
    monitors = MonitorTasks(
        settings,
        store,
        artifacts,
        generators.client,
        embedders.first(patience),
        generators.traffic,
        embedders.first_unkept(patience),
    )
    tasks = [webhooks.lead, monitors.lead, monitors.read_live]
    probes = []
    if settings.mlflow_tracking_uri:
        apply_mlflow_environment(settings)
        tasks.append(MirrorTask(settings, store, artifacts, registry).lead)
        probes.append(
            MlflowProbe(settings.mlflow_tracking_uri, store.platform.tracking, store.platform.outbox)
        )
    platform = Platform(
        reviews=build_reviews(store, artifacts),
        webhooks=webhooks.webhooks,
        monitors=monitors.monitors,
        leader_tasks=tuple(tasks),
        probes=tuple(probes),
    )
    return platform, monitors.runs_with


def build_reviews(store: SqlRunStore, artifacts: ArtifactStore) -> Reviews:
    """Human reviews."""
    stored = store.platform
    return Reviews(
        stored.reviews, store, artifacts, Closer(stored.reviews, stored.review_revisions, store, artifacts)
    )
