"""``SqlEmbeddingRows``: the ``EmbeddingRows`` port on SQLAlchemy Core, bounded by its size."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import sqlalchemy as sa
import structlog

from services.orchestrator.embedding_metrics import DAMAGED, EVICTED, SIZE_BYTES
from services.orchestrator.embedding_rows import KeptRow
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.tables_embeddings import embedding_rows as table
from services.orchestrator.store.transactions import Transactions

log = structlog.get_logger(__name__)

OVERHEAD_BYTES = 700
"""Of an entry beside its row: two hashes in the table and in the index of the key, the check, the other
index. SQLite took 690 bytes with 384 numbers in a row, and 1,200 with 768, of which a page holds one."""

TOUCH_EVERY_S = 3600
"""A hit writes only if the entry was not used for this long: "least recently used" is right to the hour."""

_KEYS_A_STATEMENT = 500
# Removed down to this share of the limit, so that not every write has to make room.
_ROOM = 0.9
# The size is measured again when this share of the limit was written since.
_MEASURE_AFTER = 1 / 64


class SqlEmbeddingRows:
    """Rows in the database of the runs, so that runs, monitors and every process share them.

    Args:
        transactions: of the database; what is kept here binds nobody, so no leader's epoch guards it.
        limit_bytes: about this much is kept, entries that were used longest ago being removed.
            Processes measure by themselves: each may add 1/64 of the limit before it notices.
        now_s: the clock, in seconds since 1970.
    """

    def __init__(
        self, transactions: Transactions, limit_bytes: int, now_s: Callable[[], float] = time.time
    ) -> None:
        self._transactions = transactions
        self._limit_bytes = limit_bytes
        self._now_s = now_s
        self._lock = threading.Lock()
        # Since the size was measured; None: it never was.
        self._written_bytes: int | None = None

    def get(self, fingerprint: str, keys: Sequence[str]) -> dict[str, KeptRow]:
        """Those that are there and whole. A damaged one is named in the log and removed."""
        now_s = int(self._now_s())
        found: dict[str, KeptRow] = {}
        damaged: list[str] = []
        stale: list[str] = []
        wanted = (table.c.text_sha256, table.c.row_bytes, table.c.truncated, table.c.check_sha256)
        for part in _parts(keys):
            with self._transactions.connect() as connection:
                rows = connection.execute(
                    sa.select(*wanted, table.c.dimension, table.c.used_time_s).where(*_of(fingerprint, part))
                ).all()
            for one in rows:
                kept = KeptRow(bytes(one.row_bytes), bool(one.truncated))
                whole = kept.check(fingerprint, one.text_sha256) == bytes(one.check_sha256)
                if not whole or one.dimension != kept.dimension:
                    damaged.append(one.text_sha256)
                    continue
                found[one.text_sha256] = kept
                if now_s - one.used_time_s >= TOUCH_EVERY_S:
                    stale.append(one.text_sha256)
        for key in damaged:
            log.warning("embedding_cache.damaged", fingerprint=fingerprint, text_sha256=key)
        DAMAGED.inc(len(damaged))
        for part in _parts(damaged):
            with self._transactions.begin() as connection:
                connection.execute(sa.delete(table).where(*_of(fingerprint, part)))
        for part in _parts(sorted(stale)):
            with self._transactions.begin() as connection:
                connection.execute(sa.update(table).where(*_of(fingerprint, part)).values(used_time_s=now_s))
        return found

    def put(self, fingerprint: str, rows: Mapping[str, KeptRow]) -> None:
        """Keep rows, each whole or not at all; one that is there already stays as it is."""
        now_s = int(self._now_s())
        # In one order everywhere: two processes that keep the same rows must not wait for each other.
        for part in _parts(sorted(rows)):
            entries = [
                {
                    "fingerprint": fingerprint,
                    "text_sha256": key,
                    "dimension": rows[key].dimension,
                    "truncated": rows[key].truncated,
                    "row_bytes": rows[key].row_bytes,
                    "check_sha256": rows[key].check(fingerprint, key),
                    "used_time_s": now_s,
                }
                for key in part
            ]
            with self._transactions.begin() as connection:
                insert_or_ignore(connection, table, entries)
            self._bound(sum(len(rows[key].row_bytes) + OVERHEAD_BYTES for key in part))

    def size_bytes(self) -> int:
        """Of all entries, about: their rows and ``OVERHEAD_BYTES`` each."""
        return self._size()[0]

    def _bound(self, written_bytes: int) -> None:
        with self._lock:
            if self._written_bytes is not None:
                self._written_bytes += written_bytes
                if self._written_bytes < self._limit_bytes * _MEASURE_AFTER:
                    return
            self._written_bytes = 0
            size_bytes, entries = self._size()
            if size_bytes > self._limit_bytes:
                excess = size_bytes - int(self._limit_bytes * _ROOM)
                self._evict(-(-excess * entries // size_bytes))
                size_bytes, _ = self._size()
            SIZE_BYTES.set(size_bytes)

    def _size(self) -> tuple[int, int]:
        with self._transactions.connect() as connection:
            summed = sa.func.coalesce(sa.func.sum(table.c.dimension), 0)
            entries, numbers = connection.execute(sa.select(sa.func.count(), summed).select_from(table)).one()
        return 4 * int(numbers) + OVERHEAD_BYTES * int(entries), int(entries)

    def _evict(self, entries: int) -> None:
        """Remove about this many, those used longest ago first, in short transactions."""
        key = sa.tuple_(table.c.fingerprint, table.c.text_sha256)
        oldest = sa.select(table.c.fingerprint, table.c.text_sha256).order_by(table.c.used_time_s)
        evicted = 0
        while evicted < entries:
            # Another process makes room too: it takes others, instead of waiting for these.
            part = oldest.limit(min(_KEYS_A_STATEMENT, entries - evicted)).with_for_update(skip_locked=True)
            with self._transactions.begin() as connection:
                removed = connection.execute(sa.delete(table).where(key.in_(part))).rowcount
            if not removed:
                break
            evicted += removed
        EVICTED.inc(evicted)
        log.info("embedding_cache.evicted", entries=evicted, limit_bytes=self._limit_bytes)


def _of(fingerprint: str, keys: Sequence[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.fingerprint == fingerprint, table.c.text_sha256.in_(keys))


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        yield keys[start : start + _KEYS_A_STATEMENT]
