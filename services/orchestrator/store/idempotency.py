"""``SqlIdempotency``: the ``IdempotencyBook`` port on SQLAlchemy Core."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from services.orchestrator.idempotency import CLAIM_S, KEEP_S, Found, KeptAnswer
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.tables_idempotency import idempotent_answers as table
from services.orchestrator.store.transactions import Transactions


class SqlIdempotency:
    """Answers in the database of the runs, so that every process that serves the API knows them."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def claim(self, key_sha256: str, request_sha256: str, claimant: str) -> Found | None:
        """None: the key is the claimant's now. Of two at the same time one gets it."""
        now = datetime.now(UTC)
        row = {
            "key_sha256": key_sha256,
            "request_sha256": request_sha256,
            "claimant": claimant,
            "claim_time": now,
            "expire_time": now + timedelta(seconds=KEEP_S),
        }
        with self._transactions.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.expire_time <= now))
            if insert_or_ignore(connection, table, [row]):
                return None
            dead = sa.and_(
                table.c.key_sha256 == key_sha256,
                table.c.request_sha256 == request_sha256,
                table.c.claimant != "",
                table.c.claim_time <= now - timedelta(seconds=CLAIM_S),
            )
            taken = connection.execute(sa.update(table).where(dead).values(claimant=claimant, claim_time=now))
            if taken.rowcount:
                return None
            found = connection.execute(sa.select(table).where(table.c.key_sha256 == key_sha256)).one()
        answer = None
        if not found.claimant:
            body = None if found.body is None else bytes(found.body)
            answer = KeptAnswer(found.status, found.headers or {}, body)
        return Found(found.request_sha256, answer)

    def renew(self, key_sha256: str, claimant: str) -> None:
        """Sets the time of the claim."""
        self._change(key_sha256, claimant, claim_time=datetime.now(UTC))

    def keep(self, key_sha256: str, claimant: str, answer: KeptAnswer) -> None:
        """The answer is there for ``KEEP_S`` from the claim on."""
        self._change(
            key_sha256,
            claimant,
            claimant="",
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
        )

    def release(self, key_sha256: str, claimant: str) -> None:
        """Removes the claim."""
        with self._transactions.begin() as connection:
            connection.execute(sa.delete(table).where(*_of(key_sha256, claimant)))

    def _change(self, key: str, holder: str, /, **values: object) -> None:
        with self._transactions.begin() as connection:
            connection.execute(sa.update(table).where(*_of(key, holder)).values(**values))


def _of(key_sha256: str, claimant: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.key_sha256 == key_sha256, table.c.claimant == claimant)
