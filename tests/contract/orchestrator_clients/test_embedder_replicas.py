"""The embedder client over several replicas, each a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.common.errors import InternalError, NotReadyError, PreconditionError
from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Discovery
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.embedder_pool import EmbedderPool, Replica
from services.orchestrator.clients.patience import Patience
from tests.fakes.embedder_replicas import FakeReplica, fake_replicas, pool_of
from tests.fakes.fake_embedder import FINGERPRINT, embed

QUICK = Patience(wait_s=3.0, call_s=3.0)


def _texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def _expected(texts: list[str]) -> np.ndarray:
    return np.stack([embed(text) for text in texts])


@pytest.fixture
async def three() -> AsyncIterator[list[FakeReplica]]:
    async with fake_replicas(3) as replicas:
        yield replicas


async def test_embed_three_replicas_share_the_texts_and_keep_their_order(three: list[FakeReplica]) -> None:
    for replica in three:
        replica.embedder.delay_s = 0.002
    texts = _texts(1500)
    async with pool_of(*three) as pool:
        found = await GrpcEmbedder(pool, QUICK).embed(texts)
    np.testing.assert_array_equal(found.rows, _expected(texts))
    assert found.fingerprint == FINGERPRINT
    seen = [replica.embedder.texts_seen for replica in three]
    assert sum(seen) == 1500
    assert min(seen) >= 250


async def test_embed_slow_replica_gets_less(three: list[FakeReplica]) -> None:
    three[0].embedder.delay_s = 0.05
    for replica in three[1:]:
        replica.embedder.delay_s = 0.002
    texts = _texts(3000)
    async with pool_of(*three) as pool:
        await GrpcEmbedder(pool, QUICK).embed(texts)
    seen = [replica.embedder.texts_seen for replica in three]
    assert sum(seen) == 3000
    assert seen[0] < min(seen[1:])


async def test_embed_replica_is_killed_its_work_goes_to_the_others(three: list[FakeReplica]) -> None:
    for replica in three:
        replica.embedder.delay_s = 0.01
    texts = _texts(1200)
    waits: list[str] = []
    async with pool_of(*three) as pool:
        client = GrpcEmbedder(pool, QUICK, lambda service, reason: waits.append(reason))
        embedding = asyncio.create_task(client.embed(texts))
        while not three[0].embedder.asked:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.03)
        await three[0].kill()
        found = await embedding
    np.testing.assert_array_equal(found.rows, _expected(texts))
    # Nobody waited, and rows that had come were not asked for again.
    assert waits == []
    taken_again = sum(replica.embedder.texts_seen for replica in three) - 1200
    assert 0 < taken_again <= 2 * 200


async def test_embed_replica_that_is_loading_is_left_out_until_it_answers(three: list[FakeReplica]) -> None:
    three[1].embedder.serving = False
    texts = _texts(600)
    async with pool_of(*three) as pool:
        client = GrpcEmbedder(pool, QUICK)
        np.testing.assert_array_equal((await client.embed(texts)).rows, _expected(texts))
        assert three[1].embedder.texts_seen == 0
        three[1].embedder.serving = True
        async with asyncio.timeout(10):
            while not three[1].embedder.texts_seen:
                await client.embed(texts)
                await asyncio.sleep(0.1)


async def test_embed_all_replicas_away_waits_and_goes_on_when_one_is_back(three: list[FakeReplica]) -> None:
    for replica in three:
        await replica.kill()
    waits: list[str] = []
    async with pool_of(*three) as pool:
        client = GrpcEmbedder(pool, Patience(15.0, 3.0), lambda service, reason: waits.append(service))
        embedding = asyncio.create_task(client.embed(_texts(10)))
        while not waits:
            await asyncio.sleep(0.01)
        await three[2].start()
        assert len((await embedding).rows) == 10
    assert set(waits) == {"embedder"}


async def test_embed_all_replicas_away_for_too_long_is_not_ready(three: list[FakeReplica]) -> None:
    for replica in three:
        replica.embedder.serving = False
    async with pool_of(*three) as pool:
        with pytest.raises(NotReadyError, match="waited"):
            await GrpcEmbedder(pool, Patience(0.5, 1.0)).embed(_texts(10))


async def test_embed_replicas_with_two_encoders_is_refused_and_names_both(three: list[FakeReplica]) -> None:
    three[2].embedder.fingerprint = "b" * 64
    async with pool_of(*three) as pool:
        with pytest.raises(PreconditionError) as raised:
            await GrpcEmbedder(pool, QUICK).embed(_texts(1000))
    assert three[2].target in raised.value.message
    assert "bbbbbbbbbbbb…" in raised.value.message
    assert "eeeeeeeeeeee…" in raised.value.message
    assert any(one.target in raised.value.message for one in three[:2])


async def test_embed_replica_restarts_with_another_encoder_within_a_request_is_refused() -> None:
    async with fake_replicas(1) as (replica,), pool_of(replica) as pool:
        replica.embedder.delay_s = 0.02
        embedding = asyncio.create_task(GrpcEmbedder(pool, QUICK).embed(_texts(500)))
        while not replica.embedder.asked:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        replica.embedder.fingerprint = "b" * 64
        with pytest.raises(PreconditionError, match="different encoders"):
            await embedding


async def test_describe_replicas_with_two_encoders_is_refused(three: list[FakeReplica]) -> None:
    async with pool_of(*three) as pool:
        client = GrpcEmbedder(pool, QUICK)
        assert (await client.describe()).fingerprint == FINGERPRINT
        three[1].embedder.fingerprint = "b" * 64
        with pytest.raises(PreconditionError, match=three[1].target):
            await client.describe()


async def test_describe_one_replica_away_is_answered_by_the_others(three: list[FakeReplica]) -> None:
    await three[0].kill()
    async with pool_of(*three) as pool:
        assert (await GrpcEmbedder(pool, QUICK).describe()).fingerprint == FINGERPRINT


async def test_embed_rows_that_name_no_encoder_are_checked_by_describe(three: list[FakeReplica]) -> None:
    for replica in three:
        replica.embedder.silent = True
    async with pool_of(*three) as pool:
        found = await GrpcEmbedder(pool, QUICK).embed(_texts(500))
        assert found.fingerprint == ""
        three[1].embedder.fingerprint = "b" * 64
        with pytest.raises(PreconditionError, match="different encoders"):
            await GrpcEmbedder(pool, QUICK).embed(_texts(500))


async def test_embed_too_many_rows_is_internal() -> None:
    async with fake_replicas(1) as (replica,), pool_of(replica) as pool:
        replica.embedder.extra_rows = 1
        with pytest.raises(InternalError, match="11 rows for 10 texts"):
            await GrpcEmbedder(pool, QUICK).embed(_texts(10))


async def test_embed_concurrent_requests_count_each_others_load(three: list[FakeReplica]) -> None:
    for replica in three:
        replica.embedder.delay_s = 0.01
    async with pool_of(*three) as pool:
        client = GrpcEmbedder(pool, QUICK)
        await asyncio.gather(*(client.embed(_texts(60)) for _ in range(9)))
        assert all(member.texts == 0 for member in await pool.members())
    assert [len(replica.embedder.asked) for replica in three] == [3, 3, 3]


async def test_members_follow_a_headless_name(three: list[FakeReplica]) -> None:
    known = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return tuple(known)

    first = three[0]
    pool = EmbedderPool(
        "embedder",
        Discovery(f"dns:///embedder.valign.svc:{first.port}", resolve, every_s=0.0),
        lambda address: open_channel(address.target),
    )
    client = GrpcEmbedder(pool, QUICK)
    assert len((await client.embed(_texts(5))).rows) == 5
    known.append("127.0.0.2")
    assert [one.target for one in await pool.members()] == [first.target, f"127.0.0.2:{first.port}"]
    # Nothing answers there; the work is done by the one that is.
    assert len((await client.embed(_texts(500))).rows) == 500
    known.clear()
    with pytest.raises(NotReadyError, match="no address"):
        await pool.members()
    await pool.aclose()


async def test_replica_that_leaves_the_name_ends_its_call_first() -> None:
    known = ["127.0.0.1"]

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return tuple(known)

    async with fake_replicas(1) as (replica,):
        pool = EmbedderPool(
            "embedder",
            Discovery(f"dns:///embedder:{replica.port}", resolve, every_s=0.0),
            lambda address: open_channel(address.target),
        )
        replica.embedder.delay_s = 0.02
        embedding = asyncio.create_task(GrpcEmbedder(pool, QUICK).embed(_texts(200)))
        while not replica.embedder.asked:
            await asyncio.sleep(0.005)
        known.clear()
        with pytest.raises(NotReadyError):
            await pool.members()
        assert len((await embedding).rows) == 200
        assert len(replica.embedder.asked) == 1
        await pool.aclose()


async def test_embed_connection_closed_by_another_caller_work_goes_to_the_others(
    three: list[FakeReplica],
) -> None:
    replicas = [Replica(one.target, open_channel(one.target)) for one in three]
    embedder = GrpcEmbedder(EmbedderPool("embedder", replicas=replicas), QUICK)
    three[0].embedder.delay_s = 5.0
    texts = _texts(300)
    embedding = asyncio.create_task(embedder.embed(texts))
    await asyncio.sleep(0.2)
    await replicas[0].channel.close()
    np.testing.assert_array_equal((await embedding).rows, _expected(texts))
    assert (await embedder.describe()).fingerprint == FINGERPRINT
    for replica in replicas[1:]:
        await replica.channel.close()
