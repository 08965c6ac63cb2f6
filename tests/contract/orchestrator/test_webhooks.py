"""Webhooks against a real receiver: what is announced arrives, signed, in order, and is never lost."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.deliveries import READER
from services.orchestrator.webhooks.retrying import Retrying
from tests.fakes.receiver import Answer, Receiver
from tests.fakes.servers import http_server
from tests.fakes.webhooks import DEAD, DELIVERED, PENDING, Here, here, on_both, store
from tests.postgres import postgres_server, postgres_url

__all__ = ["here", "postgres_server", "postgres_url", "store"]


@on_both
async def test_run_that_ends_arrives_as_a_signed_cloud_event(here: Here) -> None:
    hook, secret = await here.hook("/a", "run.*")
    here.store.create_run("r-1", "demo", {"name": "demo"})
    fault = {"code": "NOT_READY", "message": "away"}
    here.store.change_status("r-1", RunStatus.FAILED, "run.failed", fault, error_code="NOT_READY")
    async with here.leading():
        await here.until(hook, DELIVERED, DELIVERED)
    created, ended = here.receiver.of("/a")
    assert all(one.signed_by(secret) for one in (created, ended))
    assert not created.signed_by("whsec_" + "A" * 44)
    assert ended.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    read = JSONFormat().read(None, ended.body)
    stored = here.store.platform.outbox.after(0)[1]
    assert read.get_type() == "valign.run.ended.v1"
    assert read.get_source() == "https://valign.example.org"
    assert read.get_subject() == "runs/r-1"
    assert (read.get_id(), read.get_time()) == (stored.event_id, stored.time)
    assert ended.headers["webhook-id"] == stored.event_id
    assert abs(int(ended.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert ended.event["dataschema"] == "https://valign.example.org/v1/event-types/run.ended"
    Draft202012Validator(EVENT_TYPES["run.ended"].schema()).validate(ended.event["data"])
    assert ended.event["data"]["error_code"] == "NOT_READY"
    assert (await here.webhooks.get(hook.webhook_id)).last_success_time is not None


async def test_only_events_that_are_named_and_that_come_after_it_are_sent(here: Here) -> None:
    here.tell("runs/before")
    hook, _ = await here.hook("/a", "run.created", "adapter.*")
    here.tell("runs/1")
    here.tell("runs/2", kind="run.ended")
    here.tell("adapters/1", kind="adapter.promoted")
    async with here.leading():
        await here.until(hook, DELIVERED, DELIVERED)
    assert [one.event["subject"] for one in here.receiver.of("/a")] == ["runs/1", "adapters/1"]


@pytest.mark.parametrize("status", [500, 429, 302, 404])
async def test_refused_delivery_is_tried_again_under_the_same_id(here: Here, status: int) -> None:
    hook, secret = await here.hook("/a")
    here.receiver.answers["/a"] = [
        Answer(status, {"location": here.url + "/elsewhere"}, b"not now \x1b[31m")
    ] * 2
    here.tell("runs/1")
    async with here.leading():
        (done,) = await here.until(hook, DELIVERED)
    assert (done.attempts, done.last_status, done.last_error) == (3, 204, "")
    assert len(set(here.receiver.ids("/a"))) == 1
    assert len({one.body for one in here.receiver.of("/a")}) == 1
    assert all(one.signed_by(secret) for one in here.receiver.of("/a"))
    assert here.receiver.of("/elsewhere") == []


async def test_retry_after_is_honoured(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.receiver.answers["/a"] = [Answer(503, {"retry-after": "1"})]
    here.tell("runs/1")
    async with here.leading(retrying=Retrying(first_pause_s=0.01)):
        await here.receiver.until(lambda: len(here.receiver.of("/a")) == 1)
        await asyncio.sleep(0.5)
        assert len(here.receiver.of("/a")) == 1
        await here.until(hook, DELIVERED)
    first, second = (int(one.headers["webhook-timestamp"]) for one in here.receiver.of("/a"))
    assert second - first >= 1


async def test_slow_and_absent_receivers_are_tried_until_dead_and_replayed(here: Here) -> None:
    slow, _ = await here.hook("/slow")
    absent, _ = await here.webhooks.create("http://127.0.0.1:9/none", ["*"])
    here.receiver.always["/slow"] = Answer(wait_s=30)
    here.tell("runs/1")
    async with here.leading(timeout_s=0.15):
        (lost,) = await here.until(slow, DEAD)
        assert (lost.attempts, lost.last_status, lost.last_error) == (4, 0, "no answer within 0.15 s")
        (refused,) = await here.until(absent, DEAD)
        assert "127.0.0.1:9" in refused.last_error
        assert (await here.webhooks.get(slow.webhook_id)).dead == 1
        here.receiver.always.clear()
        assert await here.webhooks.replay(slow.webhook_id) == 1
        (done,) = await here.until(slow, DELIVERED)
    assert done.attempts == 1
    assert set(here.receiver.ids("/slow")) == {lost.event_id}


async def test_dead_letter_keeps_the_beginning_of_a_large_answer(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.receiver.always["/a"] = Answer(
        500, {}, b"whsec_abcdefghijklmnop \x00\x1b[31m" + b"x" * 300_000, stall=True
    )
    here.tell("runs/1")
    async with here.leading(retrying=Retrying(max_attempts=1)):
        (lost,) = await here.until(hook, DEAD)
    assert (lost.last_status, lost.last_error) == (500, "the receiver answered 500")
    assert len(lost.last_answer) == 1000
    assert lost.last_answer.startswith("[redacted] \ufffd\ufffd[31mxxx")


async def test_replay_by_number_sends_what_was_delivered_too(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.tell("runs/1", "runs/2", "runs/3")
    async with here.leading():
        await here.until(hook, DELIVERED, DELIVERED, DELIVERED)
        assert await here.webhooks.replay(hook.webhook_id, [1, 3]) == 2
        await here.receiver.until(lambda: len(here.receiver.of("/a")) == 5)
        await here.until(hook, DELIVERED, DELIVERED, DELIVERED)
    subjects = [one.event["subject"] for one in here.receiver.of("/a")]
    assert subjects == ["runs/1", "runs/2", "runs/3", "runs/1", "runs/3"]


@on_both
async def test_order_is_kept_while_the_first_attempts_fail(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.receiver.answers["/a"] = [Answer(500)]
    here.tell(*(f"runs/{number}" for number in range(20)))
    async with here.leading():
        await here.until(hook, *[DELIVERED] * 20)
    subjects = [one.event["subject"] for one in here.receiver.of("/a")]
    assert subjects == ["runs/0", *(f"runs/{number}" for number in range(20))]


@on_both
async def test_event_that_a_receiver_never_takes_is_set_aside(here: Here) -> None:
    """It does not hold back those behind it for longer than its first attempts."""
    hook, _ = await here.hook("/a")
    slow = Retrying(max_attempts=9, first_pause_s=0.05, longest_pause_s=600, in_order_attempts=2)
    here.receiver.answers["/a"] = [Answer(500), Answer(500)]
    here.tell("runs/poison", "runs/2")
    async with here.leading(retrying=slow):
        await here.until(hook, PENDING, DELIVERED)
    assert [one.event["subject"] for one in here.receiver.of("/a")][:3] == [
        "runs/poison",
        "runs/poison",
        "runs/2",
    ]


async def test_webhook_that_always_fails_or_hangs_holds_no_other_back(here: Here) -> None:
    broken, _ = await here.hook("/broken")
    hanging, _ = await here.hook("/hanging")
    good, _ = await here.hook("/good")
    here.receiver.always |= {"/broken": Answer(500), "/hanging": Answer(wait_s=30)}
    here.tell(*(f"runs/{number}" for number in range(10)))
    async with here.leading(retrying=Retrying(first_pause_s=60)):
        await here.until(good, *[DELIVERED] * 10)
    assert {one.state for one in here.deliveries(broken)} == {PENDING}
    assert {one.state for one in here.deliveries(hanging)} == {PENDING}
    assert len(here.receiver.of("/hanging")) == 1


async def test_concurrency_is_bounded_and_one_webhook_gets_one_at_a_time(here: Here) -> None:
    hooks = [(await here.hook(f"/{number}"))[0] for number in range(6)]
    most = 0

    class Counting(Receiver):
        now = 0

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            nonlocal most
            self.now += 1
            most = max(most, self.now)
            await asyncio.sleep(0.05)
            try:
                await Receiver.__call__(here.receiver, scope, receive, send)
            finally:
                self.now -= 1

    async with http_server(Counting()) as url:
        for number, hook in enumerate(hooks):
            await here.webhooks.update(hook.webhook_id, url=f"{url}/{number}")
        here.tell("runs/1", "runs/2")
        async with here.leading(concurrency=2):
            for hook in hooks:
                await here.until(hook, DELIVERED, DELIVERED)
    assert most == 2


async def test_leader_that_dies_while_it_sends_loses_nothing(here: Here) -> None:
    """The receiver took it, and nobody wrote that down: the next leader sends it again under the same id."""
    hook, _ = await here.hook("/a")
    here.receiver.answers["/a"] = [Answer(wait_s=30)]
    here.tell("runs/1", "runs/2")
    async with here.leading(timeout_s=30):
        await here.receiver.until(lambda: len(here.receiver.of("/a")) == 1)
    assert [one.attempts for one in here.deliveries(hook)] == [0, 0]
    async with here.leading():
        await here.until(hook, DELIVERED, DELIVERED)
    first, second = here.deliveries(hook)
    assert here.receiver.ids("/a") == [first.event_id, first.event_id, second.event_id]


@on_both
async def test_leader_that_dies_between_reading_and_remembering_fans_out_once(
    here: Here, store: SqlRunStore
) -> None:
    hook, _ = await here.hook("/a")
    here.tell("runs/1", "runs/2")

    added: list[str] = []

    def die(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO webhook_deliveries"):
            added.append(statement)
        if added and statement.startswith("UPDATE outbox_readers"):
            raise OSError("killed")

    sa.event.listen(store._engine, "before_cursor_execute", die)
    with pytest.raises(OSError, match="killed"):
        store.platform.webhooks.deliveries.fan_out()
    sa.event.remove(store._engine, "before_cursor_execute", die)
    assert here.deliveries(hook) == []
    assert store.platform.webhooks.deliveries.fan_out() == 2
    assert store.platform.webhooks.deliveries.fan_out() == 0
    assert [one.number for one in here.deliveries(hook)] == [1, 2]
    assert store.platform.outbox.read_by(READER) == 2


@on_both
async def test_two_leaders_at_once_send_each_event_under_one_id(here: Here) -> None:
    hook, _ = await here.hook("/a")
    here.tell(*(f"runs/{number}" for number in range(10)))
    async with here.leading(), here.leading():
        await here.until(hook, *[DELIVERED] * 10)
    assert len(set(here.receiver.ids("/a"))) == 10
    assert len(here.deliveries(hook)) == 10


@on_both
async def test_leader_whose_epoch_is_over_writes_nothing(here: Here, store: SqlRunStore) -> None:
    hook, _ = await here.hook("/a")
    lease = store.leases.acquire("one", None)
    assert lease is not None
    here.tell("runs/1")
    deliverer = here.deliverer()
    deliverer._store = store.bound(lease).platform.webhooks.deliveries
    store.leases.acquire("two", store.leases.read())
    task = asyncio.create_task(deliverer.lead(lease))
    await asyncio.sleep(0.2)
    assert not task.done(), "the leadership ends it, not the database"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (here.deliveries(hook), here.receiver.received) == ([], [])
