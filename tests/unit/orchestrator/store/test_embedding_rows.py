"""Kept rows on both databases: exact, first one wins, bounded, checked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.orchestrator.embedding_rows import KeptRow, text_key
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.embedding_rows import OVERHEAD_BYTES, TOUCH_EVERY_S, SqlEmbeddingRows
from services.orchestrator.store.tables_embeddings import embedding_rows
from tests.fakes.orchestrator import migrated_store

F, G = "f" * 64, "0" * 64
DIMENSION = 8
ENTRY_BYTES = 4 * DIMENSION + OVERHEAD_BYTES
ROOMY = 1 << 30


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


def rows_of(*texts: str, seed: int = 0) -> dict[str, KeptRow]:
    """A random row for each text."""
    rng = np.random.default_rng(seed)
    return {text_key(text): KeptRow.of(rng.normal(size=DIMENSION).astype("f4"), False) for text in texts}


def keys_of(*texts: str) -> list[str]:
    return [text_key(text) for text in texts]


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"valign_orchestrator_embedding_cache_{name}") or 0.0


def test_get_what_was_put_comes_back_bit_by_bit_and_for_its_encoder_alone(store: SqlRunStore) -> None:
    cache = store.embedding_rows(ROOMY)
    odd = KeptRow.of(np.array([np.nan, -0.0, np.inf, 1e-45], dtype=np.float32), True)
    put = {**rows_of("a", "b"), text_key("odd"): odd}
    cache.put(F, put)
    assert store.embedding_rows(ROOMY).get(F, keys_of("a", "odd", "b", "missing")) == put
    assert cache.get(G, keys_of("a")) == {}


def test_put_many_are_all_there(store: SqlRunStore) -> None:
    cache = store.embedding_rows(ROOMY)
    put = rows_of(*(f"text {number}" for number in range(1201)))
    cache.put(F, put)
    assert cache.get(F, list(put)) == put
    assert cache.size_bytes() == 1201 * ENTRY_BYTES


def test_put_again_with_another_row_the_first_stays(store: SqlRunStore) -> None:
    cache = store.embedding_rows(ROOMY)
    first = rows_of("a")
    cache.put(F, first)
    cache.put(F, rows_of("a", seed=1))
    assert cache.get(F, list(first)) == first


def test_put_of_the_same_rows_at_the_same_time_keeps_one_of_each(store: SqlRunStore) -> None:
    texts = [f"text {number}" for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for done in [
            pool.submit(store.embedding_rows(ROOMY).put, F, rows_of(*texts[::step], seed=seed))
            for seed, step in enumerate((1, -1, 1, -1))
        ]:
            done.result()
    found = store.embedding_rows(ROOMY).get(F, keys_of(*texts))
    assert len(found) == 200


@pytest.mark.parametrize(
    "damage",
    [
        {"row_bytes": b"\0" * 4 * DIMENSION},
        {"row_bytes": b"short"},
        {"truncated": True},
        {"dimension": 7},
        {"check_sha256": b""},
        {"fingerprint": G},
    ],
)
def test_get_damaged_entry_is_named_dropped_and_can_be_put_anew(
    store: SqlRunStore, damage: dict[str, object]
) -> None:
    cache = store.embedding_rows(ROOMY)
    put = rows_of("a", "b")
    cache.put(F, put)
    with store._engine.begin() as connection:
        mine = embedding_rows.c.text_sha256 == text_key("a")
        connection.execute(sa.update(embedding_rows).where(mine).values(**damage))
    at = str(damage.get("fingerprint", F))
    damaged = metric("damaged_total")
    with capture_logs() as logs:
        assert cache.get(at, keys_of("a")) == {}
    named = [one for one in logs if one["event"] == "embedding_cache.damaged"]
    assert [(one["fingerprint"], one["text_sha256"]) for one in named] == [(at, text_key("a"))]
    assert metric("damaged_total") == damaged + 1
    cache.put(at, {text_key("a"): put[text_key("a")]})
    assert cache.get(at, keys_of("a"))[text_key("a")] == put[text_key("a")]
    assert cache.get(F, keys_of("b"))[text_key("b")] == put[text_key("b")]


def test_put_beyond_the_limit_removes_what_was_used_longest_ago(store: SqlRunStore) -> None:
    now = Now()
    cache = SqlEmbeddingRows(store._engine, 10 * ENTRY_BYTES, now)
    evicted = metric("evicted_total")
    for number in range(10):
        cache.put(F if number % 2 else G, rows_of(f"text {number}"))
        now.s += TOUCH_EVERY_S
    # The oldest is used, and stays.
    assert cache.get(G, keys_of("text 0"))
    now.s += TOUCH_EVERY_S
    cache.put(F, rows_of("new"))
    assert cache.get(G, keys_of("text 0"))
    assert cache.get(F, keys_of("new"))
    assert cache.get(F, keys_of("text 1")) == {}
    assert cache.get(G, keys_of("text 2")) == {}
    assert cache.get(F, keys_of("text 3"))
    assert cache.size_bytes() == 9 * ENTRY_BYTES
    assert metric("bytes") == 9 * ENTRY_BYTES
    assert metric("evicted_total") == evicted + 2


def test_put_more_than_fits_keeps_within_the_limit(store: SqlRunStore) -> None:
    limit_bytes = 100 * ENTRY_BYTES
    cache = store.embedding_rows(limit_bytes)
    for part in range(5):
        cache.put(F, rows_of(*(f"{part} {number}" for number in range(600)), seed=part))
        assert cache.size_bytes() <= limit_bytes


def test_get_within_the_hour_writes_nothing(store: SqlRunStore) -> None:
    now = Now()
    cache = SqlEmbeddingRows(store._engine, ROOMY, now)
    cache.put(F, rows_of("a"))

    def used() -> int:
        with store._engine.connect() as connection:
            return int(connection.execute(sa.select(embedding_rows.c.used_time_s)).scalar_one())

    before = used()
    now.s += TOUCH_EVERY_S - 1
    cache.get(F, keys_of("a"))
    assert used() == before
    now.s += 1
    cache.get(F, keys_of("a"))
    assert used() == int(now.s)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqlRunStore]:
    store, _ = migrated_store(tmp_path)
    yield store
    store.close()


def test_put_that_breaks_off_leaves_no_half_entry(sqlite: SqlRunStore) -> None:
    class Broken(RuntimeError):
        pass

    cache = sqlite.embedding_rows(ROOMY)

    def fail(connection: object) -> None:
        raise Broken

    sa.event.listen(sqlite._engine, "commit", fail)
    with pytest.raises(Broken):
        cache.put(F, rows_of("a", "b"))
    sa.event.remove(sqlite._engine, "commit", fail)
    assert cache.get(F, keys_of("a", "b")) == {}
    cache.put(F, rows_of("a"))
    assert cache.get(F, keys_of("a")) == rows_of("a")
