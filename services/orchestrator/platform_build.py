"""Builds what serves the platforms around valign. Like ``__main__``, it knows the concrete classes."""

from services.common.artifacts import ArtifactStore
from services.orchestrator.platform import Platform
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.service import Reviews
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore


def build_platform(settings: OrchestratorSettings, store: SqlRunStore, artifacts: ArtifactStore) -> Platform:
    """Every part, over one store."""
    return Platform(reviews=build_reviews(store, artifacts))


def build_reviews(store: SqlRunStore, artifacts: ArtifactStore) -> Reviews:
    """Human reviews."""
    stored = store.platform
    return Reviews(
        stored.reviews, store, artifacts, Closer(stored.reviews, stored.review_revisions, store, artifacts)
    )
