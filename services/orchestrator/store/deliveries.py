"""``SqlDeliveries``: events on their way to webhooks, on SQLAlchemy Core.

Fanning out reads the outbox, adds the deliveries and remembers how far it has read in one transaction:
whoever leads next goes on exactly there. What came of an attempt is written if the delivery is still as it
was seen.
"""

import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import InvalidInputError, NotFoundError
from services.orchestrator.event_types import TEST
from services.orchestrator.listing import ListOrder, binding
from services.orchestrator.store import tokens
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.outbox import OutboxEvent
from services.orchestrator.store.tables_platform import outbox, outbox_readers
from services.orchestrator.store.tables_webhooks import webhook_deliveries, webhooks
from services.orchestrator.store.transactions import Transactions
from services.orchestrator.store.webhook_rows import DELIVERIES, delivery_of, missing, webhook_of
from services.orchestrator.webhooks.records import (
    Attempt,
    Backlog,
    Delivery,
    DeliveryState,
    Webhook,
    WebhookState,
)
from services.orchestrator.webhooks.rules import host_of, matches

READER = "webhooks"
_S = DeliveryState
_TABLE = webhook_deliveries.c
_FANNED_OUT = 200
_SENDABLE = sa.and_(_TABLE.state == _S.PENDING.value, webhooks.c.state == WebhookState.ACTIVE.value)


class SqlDeliveries:
    """Every method is one short transaction, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def fan_out(self) -> int:
        """Turn the next events of the outbox (200 at most) into deliveries; how many events were read."""
        with self._transactions.connect() as connection:
            read = self._read(connection)
            if connection.execute(_after(read).limit(1)).first() is None:
                return 0
        with self._transactions.begin() as connection:
            # The write comes first, and finds its reader where it was: two never fan out the same event.
            this = sa.and_(outbox_readers.c.reader == READER, outbox_readers.c.sequence == read)
            if connection.execute(sa.update(outbox_readers).where(this).values(sequence=read)).rowcount == 0:
                if self._read(connection) or read:
                    return 0
                connection.execute(sa.insert(outbox_readers).values(reader=READER, sequence=0))
            rows = connection.execute(_after(read).limit(_FANNED_OUT)).mappings()
            events = [OutboxEvent(**row) for row in rows]
            told = sa.select(*webhooks.columns).where(webhooks.c.state != WebhookState.DISABLED.value)
            for row in connection.execute(told.order_by(webhooks.c.webhook_id)).all():
                webhook = webhook_of(row)
                theirs = [
                    event
                    for event in events
                    if event.sequence > webhook.from_sequence and matches(webhook.event_types, event.type)
                ]
                _append(connection, webhook.webhook_id, theirs)
            done = sa.update(outbox_readers).where(outbox_readers.c.reader == READER)
            connection.execute(done.values(sequence=events[-1].sequence))
        return len(events)

    def due(self, now: datetime, in_order_attempts: int, limit: int) -> list[tuple[Webhook, Delivery]]:
        """What can be sent now, at most one delivery a webhook, the longest overdue first.

        Of each active webhook the first that waits; one that was tried ``in_order_attempts`` times is set
        aside, holds nothing back, and is due by itself. So is a test, which somebody waits for.
        """
        aside = sa.or_(_TABLE.attempts >= in_order_attempts, _TABLE.event_type == TEST)
        found: dict[str, tuple[Webhook, Delivery]] = {}
        with self._transactions.connect() as connection:
            for which in (sa.not_(aside), sa.and_(aside, _TABLE.next_attempt_time <= now)):
                first = (
                    sa.select(_TABLE.webhook_id, sa.func.min(_TABLE.number).label("number"))
                    .join(webhooks, webhooks.c.webhook_id == _TABLE.webhook_id)
                    .where(_SENDABLE, which)
                    .group_by(_TABLE.webhook_id)
                    .subquery()
                )
                same = sa.and_(_TABLE.webhook_id == first.c.webhook_id, _TABLE.number == first.c.number)
                ready = DELIVERIES.join(first, same).where(_TABLE.next_attempt_time <= now)
                for row in connection.execute(ready):
                    one = delivery_of(row)
                    other = found.get(one.webhook_id)
                    if other is None or _due_time(one) < _due_time(other[1]):
                        this = webhooks.c.webhook_id == one.webhook_id
                        webhook = connection.execute(sa.select(*webhooks.columns).where(this)).one()
                        found[one.webhook_id] = (webhook_of(webhook), one)
        return sorted(found.values(), key=lambda pair: _due_time(pair[1]))[:limit]

    def record(self, delivery: Delivery, attempt: Attempt, now: datetime, next_time: datetime | None) -> bool:
        """What came of an attempt: delivered without an error, else to be tried at ``next_time``, else dead.

        False, and nothing is written, if the delivery is not as it was seen: it was removed, or replayed.
        A receiver that is gone disables the webhook, with an entry in the audit log.
        """
        delivered = not attempt.error
        state = _S.DELIVERED if delivered else _S.PENDING if next_time is not None else _S.DEAD
        values: dict[str, Any] = {
            "state": state.value,
            "attempts": delivery.attempts + 1,
            "first_attempt_time": delivery.first_attempt_time or now,
            "next_attempt_time": next_time if state is _S.PENDING else None,
            "last_attempt_time": now,
            "last_status": attempt.status,
            "last_error": attempt.error,
            "last_answer": attempt.answer,
            "end_time": None if state is _S.PENDING else now,
        }
        as_seen = sa.and_(
            _TABLE.webhook_id == delivery.webhook_id,
            _TABLE.number == delivery.number,
            _TABLE.state == _S.PENDING.value,
            _TABLE.attempts == delivery.attempts,
        )
        webhook = webhooks.c.webhook_id == delivery.webhook_id
        with self._transactions.begin() as connection:
            if (
                connection.execute(sa.update(webhook_deliveries).where(as_seen).values(**values)).rowcount
                == 0
            ):
                return False
            if delivered:
                connection.execute(sa.update(webhooks).where(webhook).values(last_success_time=now))
            if attempt.gone:
                active = sa.and_(webhook, webhooks.c.state != WebhookState.DISABLED.value)
                gone = {
                    "state": WebhookState.DISABLED.value,
                    "state_reason": attempt.error,
                    "update_time": now,
                }
                if connection.execute(sa.update(webhooks).where(active).values(**gone)).rowcount:
                    url = connection.execute(sa.select(webhooks.c.url).where(webhook)).scalar_one()
                    details = {"host": host_of(url), "reason": attempt.error}
                    append_audit(connection, "webhook.disable", "webhook", delivery.webhook_id, details)
        return True

    def add_test(self, webhook_id: str, kind: str, data: dict[str, Any]) -> Delivery:
        """An event for this webhook alone. NotFoundError if there is none."""
        now = datetime.now(UTC)
        event = OutboxEvent(0, str(uuid.uuid4()), kind, f"webhooks/{webhook_id}", now, data)
        with self._transactions.begin() as connection:
            (number,) = _append(connection, webhook_id, [event])
            append_audit(connection, "webhook.test", "webhook", webhook_id)
            return _read(connection, webhook_id, number)

    def page(
        self, webhook_id: str, state: DeliveryState | None, page_size: int, page_token: str = ""
    ) -> tuple[list[Delivery], str]:
        """Newest first, and the next page's token ("" on the last). NotFoundError if there is no webhook."""
        bound_to = binding(ListOrder.NEWEST, {"webhook_id": webhook_id, "state": state})
        query = DELIVERIES.where(_TABLE.webhook_id == webhook_id).order_by(_TABLE.number.desc())
        if state is not None:
            query = query.where(_TABLE.state == state.value)
        if page_token:
            _, number = tokens.decode(page_token, bound_to)
            query = query.where(_TABLE.number < _number(number))
        with self._transactions.connect() as connection:
            known = sa.select(webhooks.c.webhook_id).where(webhooks.c.webhook_id == webhook_id)
            if connection.execute(known).first() is None:
                raise missing(webhook_id)
            found = [delivery_of(row) for row in connection.execute(query.limit(page_size + 1))]
        page = found[:page_size]
        more = len(found) > page_size
        return page, tokens.encode(page[-1].event_time, str(page[-1].number), bound_to) if more else ""

    def replay(self, webhook_id: str, numbers: Collection[int]) -> int:
        """Let dead letters wait to be sent again, in their order; with ``numbers`` those deliveries, dead or
        delivered. The number of them. NotFoundError for a number that the webhook has not."""
        now = datetime.now(UTC)
        which = [_TABLE.webhook_id == webhook_id, _TABLE.state == _S.DEAD.value]
        if numbers:
            ended = _TABLE.state.in_([_S.DEAD.value, _S.DELIVERED.value])
            which = [which[0], ended, _TABLE.number.in_(sorted(numbers))]
        fresh = {"state": _S.PENDING.value, "attempts": 0, "first_attempt_time": None, "end_time": None}
        with self._transactions.begin() as connection:
            touched = sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id)
            if connection.execute(touched.values(state=webhooks.c.state)).rowcount == 0:
                raise missing(webhook_id)
            if numbers:
                _refuse_unknown(connection, webhook_id, numbers)
            again = sa.update(webhook_deliveries).where(*which).values(**fresh, next_attempt_time=now)
            replayed = connection.execute(again).rowcount
            details = {"replayed": replayed, "numbers": sorted(numbers)[:100]}
            append_audit(connection, "webhook.replay", "webhook", webhook_id, details)
        return replayed

    def tidy(self, before: datetime) -> tuple[int, int]:
        """Forget what was delivered, and events that every reader has passed, before a moment; what has
        waited since then for a webhook that is not active becomes a dead letter. Numbers of the first two."""
        idle = sa.select(webhooks.c.webhook_id).where(webhooks.c.state != WebhookState.ACTIVE.value)
        waited = sa.and_(
            _TABLE.state == _S.PENDING.value, _TABLE.event_time < before, _TABLE.webhook_id.in_(idle)
        )
        expired = {"state": _S.DEAD.value, "end_time": datetime.now(UTC), "next_attempt_time": None}
        why = "it waited too long for a webhook that was paused or disabled"
        passed = sa.select(sa.func.min(outbox_readers.c.sequence)).scalar_subquery()
        with self._transactions.begin() as connection:
            connection.execute(sa.update(webhook_deliveries).where(waited).values(**expired, last_error=why))
            old = sa.and_(_TABLE.state == _S.DELIVERED.value, _TABLE.end_time < before)
            forgotten = connection.execute(sa.delete(webhook_deliveries).where(old)).rowcount
            told = sa.and_(outbox.c.sequence <= passed, outbox.c.time < before)
            events = connection.execute(sa.delete(outbox).where(told)).rowcount
        return forgotten, events

    def backlog(self) -> Backlog:
        """What waits, and what was given up."""
        counted = sa.select(_TABLE.state, sa.func.count()).where(_TABLE.state != _S.DELIVERED.value)
        oldest = (
            sa.select(sa.func.min(_TABLE.event_time))
            .join(webhooks, webhooks.c.webhook_id == _TABLE.webhook_id)
            .where(_SENDABLE)
        )
        with self._transactions.connect() as connection:
            numbers = {row[0]: int(row[1]) for row in connection.execute(counted.group_by(_TABLE.state))}
            since = connection.execute(oldest).scalar()
        return Backlog(numbers.get(_S.PENDING.value, 0), numbers.get(_S.DEAD.value, 0), since)

    def _read(self, connection: sa.Connection) -> int:
        query = sa.select(outbox_readers.c.sequence).where(outbox_readers.c.reader == READER)
        return int(connection.execute(query).scalar() or 0)


def _after(sequence: int) -> sa.Select[Any]:
    return sa.select(outbox).where(outbox.c.sequence > sequence).order_by(outbox.c.sequence)


def _append(connection: sa.Connection, webhook_id: str, events: Sequence[OutboxEvent]) -> list[int]:
    """Numbers of the new deliveries. NotFoundError if the webhook was deleted."""
    if not events:
        return []
    this = webhooks.c.webhook_id == webhook_id
    more = sa.update(webhooks).where(this).values(last_delivery=webhooks.c.last_delivery + len(events))
    if connection.execute(more).rowcount == 0:
        raise missing(webhook_id)
    last = int(connection.execute(sa.select(webhooks.c.last_delivery).where(this)).scalar_one())
    numbers = list(range(last - len(events) + 1, last + 1))
    rows = [
        {
            "webhook_id": webhook_id,
            "number": number,
            "event_id": event.event_id,
            "event_type": event.type,
            "subject": event.subject,
            "event_time": event.time,
            "data": dict(event.data),
            "state": _S.PENDING.value,
            "attempts": 0,
            "next_attempt_time": event.time,
            "last_status": 0,
            "last_error": "",
            "last_answer": "",
        }
        for number, event in zip(numbers, events, strict=True)
    ]
    connection.execute(sa.insert(webhook_deliveries), rows)
    return numbers


def _read(connection: sa.Connection, webhook_id: str, number: int) -> Delivery:
    this = sa.and_(_TABLE.webhook_id == webhook_id, _TABLE.number == number)
    return delivery_of(connection.execute(DELIVERIES.where(this)).one())


def _refuse_unknown(connection: sa.Connection, webhook_id: str, numbers: Collection[int]) -> None:
    theirs = sa.and_(_TABLE.webhook_id == webhook_id, _TABLE.number.in_(sorted(numbers)))
    known = set(connection.execute(sa.select(_TABLE.number).where(theirs)).scalars())
    if unknown := sorted(set(numbers) - known):
        raise NotFoundError(
            f"webhook {webhook_id} has no delivery {unknown[0]}; delivered ones are forgotten after a while"
        )


def _due_time(delivery: Delivery) -> datetime:
    return delivery.next_attempt_time or delivery.event_time


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInputError(
            "page_token is not one that a page of deliveries ended with; leave it out to begin with the first"
        ) from None
