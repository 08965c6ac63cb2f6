"""Builds what serves the platforms around valign. Like ``__main__``, it knows the concrete classes."""

from services.orchestrator.platform import Platform
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.webhooks.build import WebhookTasks


def build_platform(settings: OrchestratorSettings, store: SqlRunStore) -> Platform:
    """Every part, over one store."""
    webhooks = WebhookTasks(settings, store)
    return Platform(webhooks=webhooks.webhooks, leader_tasks=(webhooks.lead,))
