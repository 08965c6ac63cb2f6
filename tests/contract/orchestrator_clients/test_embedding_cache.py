"""The cached embedder over real gRPC servers and a real database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from services.common.errors import NotReadyError, PreconditionError
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.embedding_cache import CachedEmbedder
from services.orchestrator.clients.patience import Patience
from services.orchestrator.embedders_build import Embedders
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.tables_embeddings import embedding_rows
from tests.fakes.embedder_replicas import FakeReplica, fake_replicas, pool_of
from tests.fakes.fake_embedder import FINGERPRINT, embed
from tests.fakes.orchestrator import migrated_store

QUICK = Patience(wait_s=3.0, call_s=3.0)
ROOMY = 1 << 30


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"valign_orchestrator_embedding_cache_{name}_total") or 0.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    store, _ = migrated_store(tmp_path)
    yield store
    store.close()


@dataclass(frozen=True, slots=True)
class Served:
    """An embedder, and a client with the cache before it."""

    replica: FakeReplica
    bare: GrpcEmbedder
    client: CachedEmbedder

    @property
    def texts_seen(self) -> int:
        return self.replica.embedder.texts_seen


@pytest.fixture
async def served(store: SqlRunStore) -> AsyncIterator[Served]:
    async with fake_replicas(1) as (replica,), pool_of(replica) as pool:
        bare = GrpcEmbedder(pool, QUICK)
        yield Served(replica, bare, CachedEmbedder(bare, store.embedding_rows(ROOMY)))


async def test_embed_again_is_the_same_bits_and_asks_nobody(served: Served) -> None:
    texts = [f"text {number}" for number in range(300)]
    hits, misses = metric("hits"), metric("misses")
    first = await served.client.embed(texts)
    again = await served.client.embed(texts[::-1])
    assert served.texts_seen == 300
    assert again.rows[::-1].tobytes() == first.rows.tobytes()
    assert first.rows.tobytes() == (await served.bare.embed(texts)).rows.tobytes()
    assert again.rows.dtype == np.float32
    assert again.fingerprint == first.fingerprint == FINGERPRINT
    assert (metric("hits") - hits, metric("misses") - misses) == (300, 300)
    assert (first.cached, again.cached) == (0, 300)


async def test_embed_some_known_sends_the_others_once_each_in_order(served: Served) -> None:
    await served.client.embed(["b", "d"])
    texts = ["a", "b", "c", "a", "d", "c"]
    found = await served.client.embed(texts)
    assert served.replica.embedder.asked[-1] == ["a", "c"]
    assert found.cached == 4
    np.testing.assert_array_equal(found.rows, np.stack([embed(text) for text in texts]))


async def test_embed_truncated_texts_are_told_from_the_cache_too(served: Served) -> None:
    served.replica.embedder.longest = 5
    texts = ["short", "much too long", "tiny", "much too long"]
    first = await served.client.embed(texts)
    again = await served.client.embed(texts)
    assert first.truncated == again.truncated == (1, 3)
    assert served.texts_seen == 3


async def test_embed_other_encoder_has_rows_of_its_own(served: Served) -> None:
    await served.client.embed(["a"])
    served.replica.embedder.fingerprint = "b" * 64
    assert (await served.client.embed(["a"])).fingerprint == "b" * 64
    assert served.texts_seen == 2
    served.replica.embedder.fingerprint = ""
    await served.client.embed(["a"])
    assert served.texts_seen == 2


async def test_embed_encoder_is_exchanged_meanwhile_nothing_is_mixed_or_kept(served: Served) -> None:
    await served.client.embed(["known"])
    served.replica.embedder.delay_s = 0.2
    embedding = asyncio.create_task(served.client.embed(["known", "new"]))
    while len(served.replica.embedder.asked) < 2:
        await asyncio.sleep(0.005)
    served.replica.embedder.fingerprint = "b" * 64
    with pytest.raises(PreconditionError, match="bbbbbbbbbbbb… made its rows"):
        await embedding
    served.replica.embedder.delay_s = 0.0
    await served.client.embed(["new"])
    served.replica.embedder.fingerprint = ""
    await served.client.embed(["new"])
    # Computed for each encoder: what was made in between is known to neither.
    assert served.texts_seen == 4


async def test_embed_rows_that_name_no_encoder_are_given_and_not_kept(served: Served) -> None:
    served.replica.embedder.silent = True
    for _ in range(2):
        np.testing.assert_array_equal((await served.client.embed(["a"])).rows, np.stack([embed("a")]))
    assert served.texts_seen == 2


async def test_embed_damaged_entry_is_computed_anew(served: Served, store: SqlRunStore) -> None:
    first = await served.client.embed(["a", "b"])
    with store._engine.begin() as connection:
        connection.execute(sa.update(embedding_rows).values(row_bytes=b"\x00" * 256))
    again = await served.client.embed(["a", "b"])
    assert again.rows.tobytes() == first.rows.tobytes()
    assert served.texts_seen == 4
    await served.client.embed(["a", "b"])
    assert served.texts_seen == 4


async def test_embed_cache_is_away_computes_and_counts_it(served: Served, store: SqlRunStore) -> None:
    with store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE embedding_rows RENAME TO elsewhere")
    # A table that is missing is a fault of the installation, and no outage.
    with pytest.raises(sa.exc.OperationalError):
        await served.client.embed(["a"])
    with store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO embedding_rows")
    failures = metric("failures")

    def refuse(*_: object) -> None:
        raise NotReadyError("the database does not answer")

    sa.event.listen(store._engine, "begin", refuse)
    found = await served.client.embed(["a"])
    sa.event.remove(store._engine, "begin", refuse)
    np.testing.assert_array_equal(found.rows, np.stack([embed("a")]))
    assert metric("failures") == failures + 2


async def test_embed_no_texts_calls_nobody(served: Served) -> None:
    assert len((await served.client.embed([])).rows) == 0
    assert served.texts_seen == 0


async def test_runs_monitors_and_another_process_share_rows(tmp_path: Path) -> None:
    async with fake_replicas(2) as replicas:
        settings = OrchestratorSettings(
            home=tmp_path, embedder_target=",".join(replica.target for replica in replicas)
        )
        store, _ = migrated_store(tmp_path)
        other = SqlRunStore(str(store._engine.url))
        mine, theirs = Embedders(settings, store, None), Embedders(settings, other, None)
        await mine.first(QUICK).embed(["a", "b"])
        await mine.first(Patience(1.0, 1.0)).embed(["a"])
        await theirs.first(QUICK).embed(["b"])
        assert sum(replica.embedder.texts_seen for replica in replicas) == 2
        for embedders in (mine, theirs):
            await embedders.aclose()
        store.close()
        other.close()


async def test_cache_of_no_size_is_none(tmp_path: Path) -> None:
    async with fake_replicas(1) as (replica,):
        settings = OrchestratorSettings(home=tmp_path, embedder_target=replica.target, embedding_cache_mib=0)
        store, _ = migrated_store(tmp_path)
        embedders = Embedders(settings, store, None)
        assert embedders.second(QUICK) is None
        for _ in range(2):
            await embedders.first(QUICK).embed(["a"])
        assert replica.embedder.texts_seen == 2
        with store._engine.connect() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(embedding_rows)).scalar() == 0
        await embedders.aclose()
        store.close()
