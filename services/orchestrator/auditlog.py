"""The audit log as the API offers it: who did what, in order, and whether that was changed since.

About what people did to this installation. The numbers of one run are checked by ``audit`` (bundles).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog

from services.common.artifacts.names import SHA256
from services.common.errors import InvalidInputError
from services.common.hash_chain import Anchor, Verdict, verify
from services.orchestrator.listing import AuditFilter

log = structlog.get_logger(__name__)

MAX_SEQUENCE = 2**63 - 1
_ENTRIES_A_READ = 1000


class Entry(Protocol):
    """One entry; see ``store.audit.AuditEntry``."""

    @property
    def sequence(self) -> int: ...
    @property
    def time(self) -> str: ...
    @property
    def actor(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def target_kind(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def details(self) -> str: ...
    @property
    def previous_sha256(self) -> str: ...
    @property
    def sha256(self) -> str: ...

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name."""
        ...


class AuditEntries(Protocol):
    """Where the entries lie. Synchronous, like ``RunStore``."""

    def entries(
        self, after: int = 0, limit: int = _ENTRIES_A_READ, where: AuditFilter | None = None
    ) -> Sequence[Entry]:
        """At most ``limit`` entries after a sequence number, in order."""
        ...

    def head(self) -> tuple[int, str]:
        """Sequence number and sha256 of the last entry."""
        ...


class AuditLog:
    """Reading and checking. Nothing here writes an entry."""

    def __init__(self, store: AuditEntries) -> None:
        self._store = store
        # A check reads all of it: one at a time is enough for a database.
        self._turn = asyncio.Lock()

    async def entries(
        self, after: int = 0, limit: int = 0, where: AuditFilter | None = None
    ) -> AsyncIterator[Sequence[Entry]]:
        """Entries after a sequence number, in order, in parts; at most ``limit`` of them (0: all there are).

        With a filter the numbers have gaps: such an export is for reading, a whole one for checking.

        InvalidInputError for a number that is out of range, before the first part.
        """
        for name, number in (("after", after), ("limit", limit)):
            if not 0 <= number <= MAX_SEQUENCE:
                raise InvalidInputError(f"{name} must be from 0 to {MAX_SEQUENCE}, not {number}")
        left = limit or MAX_SEQUENCE
        while left > 0:
            size = min(left, _ENTRIES_A_READ)
            part = await asyncio.to_thread(self._store.entries, after, size, where)
            if part:
                yield part
            if len(part) < size:
                return
            after, left = part[-1].sequence, left - len(part)

    async def head(self) -> Anchor:
        """The last entry's number and hash: kept elsewhere, it proves that the log was not cut."""
        return Anchor(*await asyncio.to_thread(self._store.head))

    async def verify(self, known_sequence: int = 0, known_sha256: str = "") -> Verdict:
        """Check the whole chain against itself, its head, and an entry that is known from elsewhere.

        InvalidInputError for a half-given or malformed known entry.
        """
        anchor = known_entry(known_sequence, known_sha256)
        async with self._turn:
            return await asyncio.to_thread(self._verify, [anchor] if anchor else [])

    def _verify(self, known: Sequence[Anchor]) -> Verdict:
        # Others may append meanwhile: what the head says before must be there, and no more than after.
        before = Anchor(*self._store.head())
        for anchor in known:
            if anchor.sequence == before.sequence and anchor.sha256 != before.sha256:
                reason = f"the log's head has the sha256 {before.sha256}, known is {anchor.sha256}"
                return Verdict(False, before.sequence, before.sha256, anchor.sequence, reason)
        verdict = verify(self._all(), [before, *known])
        after, _ = self._store.head()
        if verdict.intact and verdict.entries > after:
            reason = f"entry {after + 1} was added behind the head of the log, which is entry {after}"
            return Verdict(False, verdict.entries, verdict.head_sha256, after + 1, reason)
        return verdict

    def _all(self) -> Iterator[Mapping[str, Any]]:
        after = 0
        while part := self._store.entries(after):
            for entry in part:
                yield entry.as_dict()
            after = part[-1].sequence


def known_entry(sequence: int, sha256: str) -> Anchor | None:
    """An entry that is known from elsewhere; None for 0 and "". InvalidInputError for anything half."""
    if not sequence and not sha256:
        return None
    if not 1 <= sequence <= MAX_SEQUENCE or not SHA256.fullmatch(sha256):
        raise InvalidInputError(
            "a known entry is its sequence number, from 1, and its sha256 in lower-case hex; these are"
            f" {sequence} and {ascii(sha256)[:80]}"
        )
    return Anchor(sequence, sha256)


async def log_head(audit_log: AuditLog) -> None:
    """One line ``audit.head`` in the service's own log; a database that is away is a line too.

    Logs are kept elsewhere: what they say of the head, nobody who changes the database can change with it.
    """
    try:
        head = await audit_log.head()
    except Exception as error:
        log.warning("audit.head_unknown", exc_info=error)
        return
    log.info("audit.head", sequence=head.sequence, sha256=head.sha256)
