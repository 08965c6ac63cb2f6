"""The life of a webhook: its secrets, pauses, refusals, and what is forgotten in the end."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from services.common.errors import PreconditionError
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.deliveries import READER
from services.orchestrator.store.tables_platform import outbox
from services.orchestrator.webhooks.records import WebhookState
from services.orchestrator.webhooks.retrying import Retrying
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.sending import Sender
from services.orchestrator.webhooks.service import Webhooks
from tests.fakes.receiver import Answer
from tests.fakes.webhooks import BOX, DEAD, DELIVERED, PENDING, Here, here, on_both, store
from tests.postgres import postgres_server, postgres_url

__all__ = ["here", "postgres_server", "postgres_url", "store"]


async def test_rotated_secret_signs_with_both_until_the_overlap_ends(here: Here) -> None:
    hook, old = await here.hook("/a")
    _, new = await here.webhooks.rotate(hook.webhook_id, 60)
    here.tell("runs/1")
    async with here.leading():
        await here.until(hook, DELIVERED)
        _, newest = await here.webhooks.rotate(hook.webhook_id, 0)
        here.tell("runs/2")
        await here.until(hook, DELIVERED, DELIVERED)
    both, last = here.receiver.of("/a")
    assert both.signed_by(old)
    assert both.signed_by(new)
    assert [last.signed_by(secret) for secret in (old, new, newest)] == [False, False, True]


@on_both
async def test_gone_disables_the_webhook_until_somebody_makes_it_active(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.receiver.answers["/a"] = [Answer(410)]
    here.tell("runs/1", "runs/2")
    async with here.leading():
        gone, waiting = await here.until(hook, DEAD, PENDING)
        assert (gone.attempts, waiting.attempts) == (1, 0)
        found = await here.webhooks.get(hook.webhook_id)
        assert (found.state, found.state_reason) == (
            WebhookState.DISABLED,
            "the receiver answered 410 (Gone)",
        )
        with pytest.raises(PreconditionError, match="is disabled"):
            await here.webhooks.test(hook.webhook_id)
        here.tell("runs/3")
        await here.receiver.until(lambda: here.store.platform.outbox.read_by(READER) == 3)
        await here.webhooks.update(hook.webhook_id, paused=False)
        await here.until(hook, DEAD, DELIVERED)
    actions = [entry.action for entry in here.store.audit_log.all_entries()]
    assert actions == ["webhook.create", "webhook.disable", "webhook.update"]


async def test_paused_webhook_gets_later_what_happened_meanwhile(here: Here) -> None:
    hook, _ = await here.webhooks.create(here.url + "/a", ["*"], paused=True)
    here.tell("runs/1")
    async with here.leading():
        await here.until(hook, PENDING)
        await asyncio.sleep(0.1)
        assert here.receiver.received == []
        await here.webhooks.update(hook.webhook_id, paused=False)
        await here.until(hook, DELIVERED)


async def test_test_event_overtakes_what_waits_and_reaches_one_webhook_alone(here: Here) -> None:
    hook, secret = await here.hook("/a")
    other, _ = await here.hook("/b")
    here.receiver.answers["/a"] = [Answer(500)]
    here.tell("runs/1")
    async with here.leading(retrying=Retrying(first_pause_s=60)):
        await here.receiver.until(lambda: len(here.receiver.of("/a")) == 1)
        tried = await here.webhooks.test(hook.webhook_id)
        await here.until(hook, PENDING, DELIVERED)
    sent = here.receiver.of("/a")[-1]
    assert (sent.event["type"], sent.event["id"]) == ("valign.webhook.test.v1", tried.event_id)
    assert sent.signed_by(secret)
    assert len(here.deliveries(other)) == 1


async def test_refused_addresses_are_never_connected_to(here: Here) -> None:
    """A name may stand for anything by the time of the call: what counts is the address."""
    here.tell()
    port = here.url.rpartition(":")[2]
    store = here.store.platform.webhooks

    async def hostile(host: str, port: int) -> list[str]:
        return {
            "loop.example.org": ["127.0.0.1"],
            "two.example.org": ["93.184.216.34", "127.0.0.1"],
            "meta.example.org": ["169.254.169.254"],
            "mapped.example.org": ["::ffff:127.0.0.1"],
            "private.example.org": ["10.1.2.3"],
        }[host]

    rules = UrlRules([f"{name}.example.org" for name in ("meta", "unlisted")], local=True)
    open_rules = UrlRules(local=True)
    for name, why in (
        ("loop", "this machine itself"),
        ("two", "this machine itself"),
        ("mapped", "this machine itself"),
        ("private", "private or reserved"),
        ("meta", "link-local"),
    ):
        # Listed or not: an address of a link is never reached.
        chosen = rules if name == "meta" else open_rules
        service = Webhooks(store, BOX, chosen)
        hook, _ = await service.create(f"https://{name}.example.org:{port}/a", ["*"])
        sender = Sender(BOX, chosen, timeout_s=2, lookup=hostile)
        delivery = store.deliveries.add_test(hook.webhook_id, "webhook.test", {})
        attempt = await sender.send(hook, delivery)
        assert attempt.error.startswith(f"not sent: {name}.example.org stands for")
        assert why in attempt.error
    assert here.receiver.received == []


async def test_nothing_tells_the_secret_or_the_path(here: Here) -> None:
    with capture_logs() as logs:
        hook, secret = await here.hook("/token-in-the-path")
        _, second = await here.webhooks.rotate(hook.webhook_id)
        here.receiver.answers["/token-in-the-path"] = [Answer(500)]
        here.tell("runs/1")
        async with here.leading():
            await here.receiver.until(lambda: "delivered" in [entry.get("outcome") for entry in logs])
    entries = "".join(entry.details for entry in here.store.audit_log.all_entries())
    dumped = _dump(here.store)
    for text in (secret, second, secret[6:40]):
        assert text not in f"{logs}{entries}{dumped}{hook!r}"
    assert "token-in-the-path" not in f"{logs}{entries}"
    assert hook.seed.nonce not in f"{logs}{entries}{hook!r}"
    assert [entry["outcome"] for entry in logs if entry["event"] == "webhook.attempted"] == [
        "retried",
        "delivered",
    ]


def _dump(store: SqlRunStore) -> str:
    with store._engine.connect() as connection:
        return "".join(
            str(connection.execute(sa.select(table)).all()) for table in outbox.metadata.sorted_tables
        )


@on_both
async def test_tidy_forgets_what_is_over_and_keeps_dead_letters_and_unread_events(here: Here) -> None:
    hook, _ = await here.hook("/a")
    dead, _ = await here.hook("/dead")
    paused, _ = await here.webhooks.create(here.url + "/paused", ["*"], paused=True)
    here.receiver.always["/dead"] = Answer(500)
    here.tell("runs/1", "runs/2")
    async with here.leading(retrying=Retrying(max_attempts=1)):
        await here.until(hook, DELIVERED, DELIVERED)
        await here.until(dead, DEAD, DEAD)
    here.store.platform.outbox.mark_read("mlflow", 1)
    here.tell("runs/3")
    deliveries = here.store.platform.webhooks.deliveries
    assert deliveries.tidy(datetime.now(UTC) - timedelta(hours=1)) == (0, 0)
    assert deliveries.tidy(datetime.now(UTC) + timedelta(seconds=1)) == (2, 1)
    assert [one.sequence for one in here.store.platform.outbox.after(0)] == [2, 3]
    assert here.deliveries(hook) == []
    assert [one.state for one in here.deliveries(dead)] == [DEAD, DEAD]
    expired = here.deliveries(paused)
    assert [(one.state, one.last_error[:20]) for one in expired] == [(DEAD, "it waited too long f")] * 2
    here.receiver.always.clear()
    await here.webhooks.replay(dead.webhook_id)
    async with here.leading():
        await here.until(dead, DELIVERED, DELIVERED, DELIVERED)
