"""Builds what serves the platforms around valign. Like ``__main__``, it knows the concrete classes."""

from services.common.artifacts import ArtifactStore
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
    settings: OrchestratorSettings, store: SqlRunStore, artifacts: ArtifactStore, registry: Registry
) -> Platform:
    """Every part, over one store."""
    webhooks = WebhookTasks(settings, store)
    tasks = [webhooks.lead]
    probes = []
    if settings.mlflow_tracking_uri:
        apply_mlflow_environment(settings)
        tasks.append(MirrorTask(settings, store, artifacts, registry).lead)
        probes.append(
            MlflowProbe(settings.mlflow_tracking_uri, store.platform.tracking, store.platform.outbox)
        )
    return Platform(
        reviews=build_reviews(store, artifacts),
        webhooks=webhooks.webhooks,
        leader_tasks=tuple(tasks),
        probes=tuple(probes),
    )


def build_reviews(store: SqlRunStore, artifacts: ArtifactStore) -> Reviews:
    """Human reviews."""
    stored = store.platform
    return Reviews(
        stored.reviews, store, artifacts, Closer(stored.reviews, stored.review_revisions, store, artifacts)
    )
