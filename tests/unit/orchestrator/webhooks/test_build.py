"""Webhooks as the orchestrator builds them: the key, who may be told, and the leader's task."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store import SqlRunStore
from services.orchestrator.webhooks.build import WebhookTasks
from services.orchestrator.webhooks.metrics import DEAD, OLDEST_PENDING_S, PENDING
from services.orchestrator.webhooks.records import DeliveryState
from tests.fakes.orchestrator import migrated_store
from tests.fakes.receiver import Receiver
from tests.fakes.servers import http_server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    made, _ = migrated_store(tmp_path)
    yield made
    made.close()


async def test_leader_sends_within_its_epoch_and_at_once_when_asked(
    store: SqlRunStore, tmp_path: Path
) -> None:
    tasks = WebhookTasks(OrchestratorSettings(home=tmp_path), store)
    epoch = store.leases.acquire("me", None)
    assert epoch is not None
    receiver = Receiver()
    leading = asyncio.create_task(tasks.lead(epoch))
    async with http_server(receiver) as url:
        hook, secret = await tasks.webhooks.create(f"{url}/a", ["run.*"])
        await tasks.webhooks.test(hook.webhook_id)
        await receiver.until(lambda: len(receiver.received) == 1)
        store.create_run("r-1", "demo", {"name": "demo"})
        await receiver.until(lambda: len(receiver.received) == 2)
        await receiver.until(
            lambda: not store.platform.webhooks.deliveries.page(hook.webhook_id, DeliveryState.PENDING, 9)[0]
        )
    leading.cancel()
    with suppress(asyncio.CancelledError):
        await leading
    assert all(one.signed_by(secret) for one in receiver.received)
    assert (tmp_path / "webhook.key").exists()
    # Whoever leads next finds the secret again.
    assert WebhookTasks(OrchestratorSettings(home=tmp_path), store)._secrets.secret_of(hook.seed) == secret


async def test_metrics_tell_what_waits(store: SqlRunStore, tmp_path: Path) -> None:
    tasks = WebhookTasks(OrchestratorSettings(home=tmp_path), store)
    hook, _ = await tasks.webhooks.create("http://127.0.0.1:9/", ["*"])
    store.create_run("r-1", "demo", {"name": "demo"})
    epoch = store.leases.acquire("me", None)
    assert epoch is not None
    leading = asyncio.create_task(tasks.lead(epoch))
    deliveries = store.platform.webhooks.deliveries
    async with asyncio.timeout(20):
        while PENDING._value.get() != 1 or OLDEST_PENDING_S._value.get() <= 0:
            await asyncio.sleep(0.05)
    leading.cancel()
    with suppress(asyncio.CancelledError):
        await leading
    # A process that no longer leads says nothing of the backlog.
    assert [gauge._value.get() for gauge in (PENDING, DEAD, OLDEST_PENDING_S)] == [0, 0, 0]
    assert deliveries.page(hook.webhook_id, None, 9)[0][0].state is DeliveryState.PENDING


async def test_database_that_others_share_needs_a_key_of_the_settings(
    store: SqlRunStore, tmp_path: Path
) -> None:
    shared = OrchestratorSettings(home=tmp_path, database_url="postgresql+psycopg://somewhere/valign")
    with pytest.raises(PreconditionError, match="VALIGN_ORCHESTRATOR_WEBHOOK_KEY"):
        await WebhookTasks(shared, store).webhooks.create("https://hooks.example.org/", ["*"])
    keyed = shared.model_copy(update={"webhook_key": OrchestratorSettings(webhook_key="k" * 32).webhook_key})
    await WebhookTasks(keyed, store).webhooks.create("https://hooks.example.org/", ["*"])


async def test_installation_that_asks_for_credentials_tells_nobody_on_its_own_machine(
    store: SqlRunStore, tmp_path: Path
) -> None:
    guarded = WebhookTasks(OrchestratorSettings(home=tmp_path, auth="required"), store)
    with pytest.raises(InvalidInputError, match="must be https"):
        await guarded.webhooks.create("http://127.0.0.1:9/", ["*"])


async def test_as_many_webhooks_as_there_may_be_and_no_more(
    store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.store.webhooks.MAX_WEBHOOKS", 2)
    webhooks = WebhookTasks(OrchestratorSettings(home=tmp_path), store).webhooks
    for _ in range(2):
        await webhooks.create("https://hooks.example.org/", ["*"])
    with pytest.raises(PreconditionError, match="2 webhooks already"):
        await webhooks.create("https://hooks.example.org/", ["*"])
    first, token = await webhooks.page(1)
    second, end = await webhooks.page(1, token)
    assert (len({first[0].webhook_id, second[0].webhook_id}), end) == (2, "")
