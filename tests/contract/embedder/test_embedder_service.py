"""The embedder's contract through a real gRPC server, with an encoder that has no model."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
import pytest_asyncio

from services.common.errors import ErrorCode
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.rpc.client import as_valign_error, open_channel
from services.common.rpc.server import Health, build_server
from services.embedder.__main__ import SERVICE_NAME
from services.embedder.batcher import Batcher
from services.embedder.servicer import EmbedderServicer
from tests.fakes.fake_encoder import DIMENSION, FakeEncoder, row_of

WINDOW_TEXTS = 64


@dataclass
class Running:
    stub: embedder_pb2_grpc.EmbedderServiceStub
    server: grpc.aio.Server
    servicer: EmbedderServicer
    batcher: Batcher
    encoder: FakeEncoder


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    encoder = FakeEncoder()
    health = Health([SERVICE_NAME])
    servicer = EmbedderServicer(window_texts=WINDOW_TEXTS)
    server = build_server(service_names=[SERVICE_NAME], health=health)
    embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(encoder, executor, batch_size=32, max_wait_s=0.02, max_queued_texts=500)
        batcher.start()
        servicer.serve(batcher)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield Running(embedder_pb2_grpc.EmbedderServiceStub(channel), server, servicer, batcher, encoder)
        encoder.gate.set()
        await server.stop(5)
        await batcher.stop()


async def messages(parts: Iterable[list[str]]) -> AsyncIterator[embedder_pb2.EmbedRequest]:
    for part in parts:
        yield embedder_pb2.EmbedRequest(texts=part)


async def embed(running: Running, parts: Iterable[list[str]]) -> tuple[np.ndarray, list[int]]:
    """All rows of a call, and the indices of the truncated texts; checks that parts are in order."""
    rows: list[bytes] = []
    truncated: list[int] = []
    count = 0
    async for response in running.stub.Embed(messages(parts), timeout=120):
        assert response.offset == count
        assert response.dimension == DIMENSION
        assert len(response.rows) == response.count * DIMENSION * 4
        count += response.count
        rows.append(response.rows)
        truncated += response.truncated
    return np.frombuffer(b"".join(rows), dtype="<f4").reshape(count, -1 if count else DIMENSION), truncated


async def failure(running: Running, parts: Iterable[list[str]]) -> tuple[ErrorCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embed(running, parts)
    error = as_valign_error(caught.value)
    return error.code, error.message


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_describe_ready_names_the_encoder(running: Running) -> None:
    answer = await running.stub.Describe(embedder_pb2.DescribeRequest(), timeout=5)
    assert (answer.model, answer.dimension, answer.fingerprint) == ("fake", DIMENSION, "f" * 64)


async def test_calls_before_the_encoder_is_loaded_are_not_ready(running: Running) -> None:
    running.servicer._batcher = None
    code, message = await failure(running, [["text"]])
    assert code is ErrorCode.NOT_READY
    assert "still loading" in message
    with pytest.raises(grpc.aio.AioRpcError):
        await running.stub.Describe(embedder_pb2.DescribeRequest(), timeout=5)


async def test_embed_several_messages_gives_rows_in_order(running: Running) -> None:
    texts = [f"{'x' * (i % 7)} text {i}" for i in range(300)]
    rows, truncated = await embed(running, [texts[:1], texts[1:200], [], texts[200:]])
    np.testing.assert_array_equal(rows, [row_of(text) for text in texts])
    assert truncated == []


async def test_embed_no_texts_gives_no_rows(running: Running) -> None:
    rows, truncated = await embed(running, [])
    assert (len(rows), truncated) == (0, [])


async def test_embed_long_texts_are_flagged_by_index_in_the_call(running: Running) -> None:
    texts = ["short", "l" * 60, *["short"] * 100, "l" * 51]
    _, truncated = await embed(running, [texts[:3], texts[3:]])
    assert truncated == [1, 102]


async def test_embed_100000_texts_in_one_call_keeps_order_and_memory_flat(running: Running) -> None:
    def parts() -> Iterable[list[str]]:
        for start in range(0, 100_000, 5_000):
            yield [f"text number {i}" for i in range(start, start + 5_000)]

    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, running.batcher.queued)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows, _ = await embed(running, parts())
    grown_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes
    watching.cancel()
    assert len(rows) == 100_000
    for index in (0, 1, 4_999, 5_000, 77_777, 99_999):
        np.testing.assert_array_equal(rows[index], row_of(f"text number {index}"))
    assert 0 < most <= 2 * WINDOW_TEXTS
    assert grown_bytes < 64 * 1024**2


async def test_embed_rows_come_back_before_the_caller_sends_more(running: Running) -> None:
    call = running.stub.Embed(timeout=10)
    for text in ("one", "two", "three"):
        await call.write(embedder_pb2.EmbedRequest(texts=[text]))
        response = await call.read()
        np.testing.assert_array_equal(np.frombuffer(response.rows, dtype="<f4"), row_of(text))
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_embed_concurrent_callers_share_batches(running: Running) -> None:
    results = await asyncio.gather(*(embed(running, [[f"caller {i}"]]) for i in range(32)))
    for i, (rows, _) in enumerate(results):
        np.testing.assert_array_equal(rows, [row_of(f"caller {i}")])
    assert len(running.encoder.batches) <= 8


@pytest.mark.parametrize("at", [0, 3, 150])
async def test_embed_empty_text_is_invalid_and_named_by_index(running: Running, at: int) -> None:
    texts = ["fine"] * 200
    texts[at] = "  "
    code, message = await failure(running, [texts[:100], texts[100:]])
    assert code is ErrorCode.INVALID_INPUT
    assert f"text {at} is empty" in message


async def test_embed_encoder_failure_is_internal_without_its_text_and_the_service_goes_on(
    running: Running,
) -> None:
    code, message = await failure(running, [["boom"]])
    assert code is ErrorCode.INTERNAL
    assert "asked to fail" not in message
    rows, _ = await embed(running, [["fine"]])
    assert len(rows) == 1


async def test_embed_full_queue_is_overloaded(running: Running) -> None:
    running.encoder.gate.clear()
    calls = [asyncio.create_task(embed(running, [[f"{i} {j}" for j in range(128)]])) for i in range(5)]
    await until(lambda: running.batcher.queued >= 500)
    code, _ = await failure(running, [["one more"]])
    assert code is ErrorCode.OVERLOADED
    running.encoder.gate.set()
    for rows, _ in await asyncio.gather(*calls):
        assert len(rows) == 128


async def test_embed_cancelled_call_drops_its_texts(running: Running) -> None:
    running.encoder.gate.clear()
    call = running.stub.Embed(messages([[f"dropped {i}" for i in range(10_000)]]), timeout=60)
    await call.wait_for_connection()
    reading = asyncio.create_task(call.read())
    await until(lambda: len(running.encoder.batches) == 1)
    call.cancel()
    await until(lambda: running.batcher.queued == 0)
    running.encoder.gate.set()
    rows, _ = await embed(running, [["other"]])
    assert len(rows) == 1
    assert sum(text.startswith("dropped") for batch in running.encoder.batches for text in batch) <= 32
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_embed_past_its_deadline_is_a_timeout_and_drops_its_texts(running: Running) -> None:
    running.encoder.gate.clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in running.stub.Embed(messages([["text"] * 100]), timeout=0.3):
            pass
    assert as_valign_error(caught.value).code is ErrorCode.TIMEOUT
    await until(lambda: running.batcher.queued == 0)


async def test_server_stop_with_a_call_in_flight_lets_it_end(running: Running) -> None:
    running.encoder.delay_s = 0.02
    texts = [f"text {i}" for i in range(500)]
    call = asyncio.create_task(embed(running, [texts]))
    await until(lambda: len(running.encoder.batches) >= 2)
    await running.server.stop(20)
    rows, _ = await call
    np.testing.assert_array_equal(rows, [row_of(text) for text in texts])
