"""The outbox: what other systems are told, written in the transaction of what it tells.

Readers (webhooks, a tracking server) follow it by its sequence number, each from where it was: an event is
neither lost nor told before it is true. Source of the pattern: "transactional outbox".
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.orchestrator.store.jsontext import finite
from services.orchestrator.store.tables_platform import outbox, outbox_head, outbox_readers
from services.orchestrator.store.transactions import Transactions


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One event. ``type`` is the last part of a CloudEvents type, ``subject`` what it is about."""

    sequence: int
    event_id: str
    type: str
    subject: str
    time: datetime
    data: Mapping[str, Any]


def announce(
    connection: sa.Connection, kind: str, subject: str, data: Mapping[str, Any] | None = None
) -> None:
    """Append an event in the caller's transaction.

    Call it right before ``append_audit``: both lock a row until the commit, always in this order.

    Args:
        kind: what happened, as ``noun.verb`` ("run.ended", "adapter.promoted").
        subject: the resource, as a path of the API without its version ("runs/r-20261126-aaaaaa").
        data: JSON-able; no secrets and no texts of prompts or completions.
    """
    connection.execute(sa.update(outbox_head).values(sequence=outbox_head.c.sequence + 1))
    sequence = connection.execute(sa.select(outbox_head.c.sequence)).scalar_one()
    connection.execute(
        sa.insert(outbox).values(
            sequence=int(sequence),
            event_id=str(uuid.uuid4()),
            type=kind,
            subject=subject[:255],
            time=datetime.now(UTC),
            data=finite(dict(data or {})),
        )
    )


class SqlOutbox:
    """Reading the outbox, and remembering how far each reader is."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def after(self, sequence: int, limit: int = 100) -> list[OutboxEvent]:
        """At most ``limit`` events after a sequence number, in order."""
        query = sa.select(outbox).where(outbox.c.sequence > sequence).order_by(outbox.c.sequence).limit(limit)
        with self._transactions.connect() as connection:
            return [OutboxEvent(**row) for row in connection.execute(query).mappings()]

    def head(self) -> int:
        """Sequence number of the last event; 0 if there is none."""
        with self._transactions.connect() as connection:
            return int(connection.execute(sa.select(outbox_head.c.sequence)).scalar_one())

    def read_by(self, reader: str) -> int | None:
        """The last event that a reader has dealt with; None if it was never here."""
        query = sa.select(outbox_readers.c.sequence).where(outbox_readers.c.reader == reader)
        with self._transactions.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else int(found)

    def mark_read(self, reader: str, sequence: int) -> None:
        """The reader has dealt with every event up to this one."""
        with self._transactions.begin() as connection:
            changed = connection.execute(
                sa.update(outbox_readers).where(outbox_readers.c.reader == reader).values(sequence=sequence)
            )
            if changed.rowcount == 0:
                connection.execute(sa.insert(outbox_readers).values(reader=reader, sequence=sequence))
