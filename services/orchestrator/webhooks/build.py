"""Webhooks, put together: what people call, and what the leader does."""

from collections.abc import Iterator
from datetime import timedelta

from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.webhooks.delivering import Deliverer
from services.orchestrator.webhooks.retrying import Retrying
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.sending import Sender
from services.orchestrator.webhooks.service import Webhooks
from services.orchestrator.webhooks.signing import SecretBox, key_file, no_key


class WebhookTasks:
    """``webhooks`` is for everybody; ``lead`` runs until it is cancelled, in one process at a time."""

    def __init__(self, settings: OrchestratorSettings, store: SqlRunStore) -> None:
        self._settings = settings
        self._store = store
        self._secrets = SecretBox(self._keys)
        self._rules = UrlRules(
            settings.webhook_allowed_hosts,
            local=not settings.credentials_required and not settings.beyond_loopback,
        )
        self._deliverer: Deliverer | None = None
        self.webhooks = Webhooks(store.platform.webhooks, self._secrets, self._rules, self._nudge)

    async def lead(self, epoch: int) -> None:
        """Fan out and send, over a store whose writes end with the epoch."""
        settings = self._settings
        sender = Sender(self._secrets, self._rules, settings.public_url, settings.webhook_timeout_s)
        self._deliverer = Deliverer(
            self._store.bound(epoch).platform.webhooks.deliveries,
            sender,
            Retrying(settings.webhook_max_attempts, settings.webhook_give_up_after_s),
            settings.webhook_concurrency,
            timedelta(days=settings.keep_events_days),
        )
        try:
            await self._deliverer.lead(epoch)
        finally:
            self._deliverer = None

    def _nudge(self) -> None:
        # Another process may lead: it looks each second.
        if self._deliverer is not None:
            self._deliverer.nudge()

    def _keys(self) -> Iterator[str]:
        settings = self._settings
        if key := settings.webhook_key.get_secret_value():
            yield key
        else:
            yield key_file(settings.webhook_key_file) if settings.webhook_key_file else no_key()
        for former in settings.webhook_former_keys:
            yield former.get_secret_value()
