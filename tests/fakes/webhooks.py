"""A store, a receiver and a deliverer of webhooks, as fixtures of several modules."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.outbox import announce
from services.orchestrator.webhooks.delivering import Deliverer
from services.orchestrator.webhooks.records import Delivery, DeliveryState, Webhook
from services.orchestrator.webhooks.retrying import Retrying
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.sending import Sender
from services.orchestrator.webhooks.service import Webhooks
from services.orchestrator.webhooks.signing import SecretBox
from tests.fakes.orchestrator import migrated_store
from tests.fakes.receiver import Receiver
from tests.fakes.servers import http_server

QUICK = Retrying(max_attempts=4, first_pause_s=0.02, longest_pause_s=0.1, in_order_attempts=2)
BOX = SecretBox(lambda: ["the key of a test, which is long enough"])


@dataclass(frozen=True, slots=True)
class Here:
    """A store, a receiver, and what people call."""

    store: SqlRunStore
    receiver: Receiver
    url: str
    webhooks: Webhooks

    async def hook(self, path: str, *types: str) -> tuple[Webhook, str]:
        return await self.webhooks.create(self.url + path, types or ("*",))

    def deliverer(self, retrying: Retrying = QUICK, timeout_s: float = 5.0, **options: Any) -> Deliverer:
        rules = UrlRules(local=True)
        sender = Sender(BOX, rules, "https://valign.example.org", timeout_s)
        deliveries = self.store.platform.webhooks.deliveries
        return Deliverer(deliveries, sender, retrying, interval_s=0.02, **options)

    @asynccontextmanager
    async def leading(self, **options: Any) -> AsyncIterator[Deliverer]:
        """A leader, until the block ends."""
        deliverer = self.deliverer(**options)
        task = asyncio.create_task(deliverer.lead(1))
        try:
            yield deliverer
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def tell(self, *subjects: str, kind: str = "run.created") -> None:
        for subject in subjects:
            with self.store._engine.begin() as connection:
                announce(connection, kind, subject, {"run_id": subject})

    def deliveries(self, webhook: Webhook) -> list[Delivery]:
        return self.store.platform.webhooks.deliveries.page(webhook.webhook_id, None, 200)[0][::-1]

    async def until(self, webhook: Webhook, *states: DeliveryState) -> list[Delivery]:
        """Wait until its deliveries are in these states."""

        def ready() -> bool:
            return [one.state for one in self.deliveries(webhook)] == list(states)

        await self.receiver.until(ready)
        return self.deliveries(webhook)


PENDING, DELIVERED, DEAD = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.DEAD

on_both = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRunStore]:
    if getattr(request, "param", "sqlite") == "sqlite":
        made, _ = migrated_store(tmp_path)
    else:
        made = SqlRunStore(request.getfixturevalue("postgres_url"))
        made.migrate()
    yield made
    made.close()


@pytest.fixture
async def here(store: SqlRunStore) -> AsyncIterator[Here]:
    receiver = Receiver()
    async with http_server(receiver) as url:
        yield Here(store, receiver, url, Webhooks(store.platform.webhooks, BOX, UrlRules(local=True)))
