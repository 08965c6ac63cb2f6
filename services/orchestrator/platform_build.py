"""Builds what serves the platforms around valign. Like ``__main__``, it knows the concrete classes."""

from services.orchestrator.platform import Platform
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore


def build_platform(settings: OrchestratorSettings, store: SqlRunStore) -> Platform:
    """Every part, over one store."""
    return Platform()
