"""Who leads: one row that its holder renews, and the check that fences every write of the loop.

No clock of the wall is read or stored: a row says who holds the lease (``holder``), how often it changed
hands (``epoch``) and how often it was renewed since (``beat``). Whoever waits judges by its own clock
whether the row still moves.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.tables_operations import leases

LOOP = "loop"
_LINEAGE = "lineage"


@dataclass(frozen=True, slots=True)
class Lease:
    """The row as it was read. ``holder`` is empty when the lease was given up: free at once."""

    holder: str
    epoch: int
    beat: int


class SqlLeases:
    """The lease of the loop. Every method is one short transaction, and raises what the database raises."""

    def __init__(self, engine: sa.Engine, name: str = LOOP) -> None:
        self._engine = engine
        self._name = name
        # One statement and one answer: nothing that a busy process can be late with in between.
        quick = engine.dialect.name == "postgresql"
        self._renewing = engine.execution_options(isolation_level="AUTOCOMMIT") if quick else engine

    def read(self) -> Lease | None:
        """The lease, or None if nobody ever held it."""
        query = sa.select(leases.c.holder, leases.c.epoch, leases.c.beat).where(leases.c.name == self._name)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Lease(str(row.holder), int(row.epoch), int(row.beat))

    def acquire(self, holder: str, seen: Lease | None) -> int | None:
        """Take the lease if it is still as ``seen``: the new epoch, or None if somebody was quicker."""
        with self._engine.begin() as connection:
            if seen is None:
                row = {"name": self._name, "holder": holder, "epoch": 1, "beat": 0}
                return 1 if insert_or_ignore(connection, leases, [row]) == 1 else None
            epoch = seen.epoch + 1
            self._wait_for_writes(connection)
            changed = connection.execute(
                sa.update(leases)
                .where(
                    leases.c.name == self._name,
                    leases.c.holder == seen.holder,
                    leases.c.epoch == seen.epoch,
                    leases.c.beat == seen.beat,
                )
                .values(holder=holder, epoch=epoch, beat=0)
            )
            return epoch if changed.rowcount == 1 else None

    def renew(self, holder: str, epoch: int) -> bool:
        """Move the row on; False if the lease is no longer this holder's."""
        with self._renewing.begin() as connection:
            return self._update(connection, holder, epoch, {"beat": leases.c.beat + 1})

    def release(self, holder: str, epoch: int) -> bool:
        """Give the lease up, so that the next one need not wait; False if it is no longer this holder's."""
        with self._engine.begin() as connection:
            self._wait_for_writes(connection)
            return self._update(connection, holder, epoch, {"holder": ""})

    def lineage(self) -> str:
        """An id that this database has for good: epochs of two databases cannot be compared."""
        with self._engine.begin() as connection:
            row = {"name": _LINEAGE, "holder": uuid.uuid4().hex, "epoch": 0, "beat": 0}
            insert_or_ignore(connection, leases, [row])
            query = sa.select(leases.c.holder).where(leases.c.name == _LINEAGE)
            return str(connection.execute(query).scalar_one())

    def _update(self, connection: sa.Connection, holder: str, epoch: int, values: Mapping[str, Any]) -> bool:
        mine = (leases.c.name == self._name, leases.c.holder == holder, leases.c.epoch == epoch)
        return connection.execute(sa.update(leases).where(*mine).values(**values)).rowcount == 1

    def _wait_for_writes(self, connection: sa.Connection) -> None:
        """Lock the row against every write of the loop that is under way. SQLite has one lock for all."""
        if connection.dialect.name == "postgresql":
            query = sa.select(leases.c.epoch).where(leases.c.name == self._name).with_for_update()
            connection.execute(query).first()


def holds(connection: sa.Connection, epoch: int) -> bool:
    """Whether the epoch is the one that leads, until the end of the caller's transaction: nobody can take the
    lease before that. Call it first."""
    current = (leases.c.name == LOOP, leases.c.epoch == epoch, leases.c.holder != "")
    if connection.dialect.name == "postgresql":
        # FOR KEY SHARE: many may have it at once, a renewal does not wait for them (writes that overlap could
        # starve it), and whoever changes the holder does: see ``_wait_for_writes``.
        query = sa.select(leases.c.epoch).where(*current).with_for_update(read=True, key_share=True)
        return connection.execute(query).first() is not None
    # SQLite has one lock: a transaction that begins with a write has it from here on.
    return connection.execute(sa.update(leases).where(*current).values(epoch=leases.c.epoch)).rowcount == 1
