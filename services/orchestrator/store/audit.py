"""The audit log: append-only and hash-chained.

Each entry holds the sha256 of the one before, so that one that is altered, missing or out of place breaks the
chain. Entries are written in the transaction of what they tell: both happen, or neither.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.hash_chain import FIRST_PREVIOUS as FIRST_PREVIOUS
from services.common.hash_chain import entry_sha256
from services.orchestrator.identity import current_principal
from services.orchestrator.listing import AuditFilter
from services.orchestrator.store.jsontext import canonical
from services.orchestrator.store.tables_operations import audit_head, audit_log

_ENTRIES_A_READ = 1000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry; ``details`` is the canonical JSON text that was hashed, ``time`` ISO 8601 in UTC."""

    sequence: int
    time: str
    actor: str
    action: str
    target_kind: str
    target: str
    details: str
    previous_sha256: str
    sha256: str

    def expected_sha256(self) -> str:
        """sha256 (hex) over every other field, in canonical JSON."""
        return entry_sha256(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name: a line of an export."""
        return {name: getattr(self, name) for name in AuditEntry.__slots__}


def append_audit(
    connection: sa.Connection,
    action: str,
    target_kind: str,
    target: str,
    details: Mapping[str, Any] | None = None,
    *,
    actor: str = "",
) -> None:
    """Append an entry in the caller's transaction; the actor is the current principal if none is given.

    Call it last: it locks the log's head until the commit.
    """
    # The update comes first: it locks the row, and whoever appends next sees the new head.
    connection.execute(sa.update(audit_head).values(sequence=audit_head.c.sequence + 1))
    sequence, previous = connection.execute(sa.select(audit_head.c.sequence, audit_head.c.sha256)).one()
    unsigned = AuditEntry(
        sequence=int(sequence),
        time=datetime.now(UTC).isoformat(timespec="microseconds"),
        actor=(actor or current_principal().name)[:255],
        action=action,
        target_kind=target_kind,
        target=target[:255],
        details=canonical(dict(details or {})).decode("ascii"),
        previous_sha256=previous,
        sha256="",
    )
    row = {**unsigned.as_dict(), "sha256": unsigned.expected_sha256()}
    connection.execute(sa.insert(audit_log).values(**row))
    connection.execute(sa.update(audit_head).values(sha256=row["sha256"]))


class SqlAuditLog:
    """Reading the log. Nothing here changes an entry."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def append(
        self, action: str, target_kind: str, target: str, details: Mapping[str, Any] | None = None
    ) -> None:
        """An entry of its own, for what is not written by a transaction of this database."""
        with self._engine.begin() as connection:
            append_audit(connection, action, target_kind, target, details)

    def entries(
        self, after: int = 0, limit: int = _ENTRIES_A_READ, where: AuditFilter | None = None
    ) -> list[AuditEntry]:
        """At most ``limit`` entries after a sequence number, in order."""
        columns = [audit_log.c[name] for name in AuditEntry.__slots__]
        query = (
            sa.select(*columns)
            .where(audit_log.c.sequence > after, *_conditions(where or AuditFilter()))
            .order_by(audit_log.c.sequence)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [AuditEntry(*row) for row in connection.execute(query)]

    def all_entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """Every entry after a sequence number, in order, read in parts."""
        while part := self.entries(after):
            yield from part
            after = part[-1].sequence

    def head(self) -> tuple[int, str]:
        """Sequence number and sha256 of the last entry; (0, 64 zeros) of an empty log."""
        with self._engine.connect() as connection:
            sequence, sha256 = connection.execute(sa.select(audit_head.c.sequence, audit_head.c.sha256)).one()
        return int(sequence), str(sha256)


def _conditions(where: AuditFilter) -> list[sa.ColumnElement[bool]]:
    named = ("actor", "action", "target_kind", "target")
    found = [audit_log.c[name] == value for name in named if (value := getattr(where, name))]
    # Times are kept as they were hashed: texts of one shape, which sort like the moments.
    if where.time_after is not None:
        found.append(audit_log.c.time >= _as_hashed(where.time_after))
    if where.time_before is not None:
        found.append(audit_log.c.time < _as_hashed(where.time_before))
    return found


def _as_hashed(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
