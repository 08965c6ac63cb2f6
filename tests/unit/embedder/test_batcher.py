"""Batches across callers."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import NotReadyError, OverloadedError
from services.embedder.batcher import Batcher
from tests.fakes.fake_encoder import FakeEncoder, row_of


@asynccontextmanager
async def batching(
    encoder: FakeEncoder, *, batch_size: int = 4, max_wait_s: float = 0.005, max_queued_texts: int = 1000
) -> AsyncIterator[Batcher]:
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(
            encoder, executor, batch_size=batch_size, max_wait_s=max_wait_s, max_queued_texts=max_queued_texts
        )
        batcher.start()
        try:
            yield batcher
        finally:
            encoder.gate.set()
            await batcher.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@given(
    st.lists(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20), min_size=1, max_size=5),
    st.integers(1, 7),
)
def test_rows_of_any_calls_and_batch_size_are_each_texts_own_in_order(
    calls: list[list[str]], batch_size: int
) -> None:
    async def check() -> None:
        async with batching(FakeEncoder(), batch_size=batch_size, max_wait_s=0.001) as batcher:
            lanes = [batcher.open() for _ in calls]
            futures: list[Awaitable] = [lane.submit(t) for lane, t in zip(lanes, calls, strict=True)]
            for texts, encoded in zip(calls, await asyncio.gather(*futures), strict=True):
                np.testing.assert_array_equal(encoded.rows, [row_of(text) for text in texts])
            assert batcher.queued == 0

    asyncio.run(check())


async def test_batch_concurrent_single_texts_share_one() -> None:
    encoder = FakeEncoder()
    async with batching(encoder, batch_size=8, max_wait_s=1.0) as batcher:
        await asyncio.gather(*(batcher.open().submit([f"text {i}"]) for i in range(8)))
    assert [len(batch) for batch in encoder.batches] == [8]


async def test_batch_not_full_goes_after_the_longest_wait() -> None:
    encoder = FakeEncoder()
    async with batching(encoder, batch_size=8, max_wait_s=0.02) as batcher, asyncio.timeout(2):
        await batcher.open().submit(["alone"])
    assert encoder.batches == [["alone"]]


async def test_batch_texts_of_similar_length_go_together() -> None:
    encoder = FakeEncoder()
    async with batching(encoder, batch_size=2) as batcher:
        await batcher.open().submit(["a", "aaaa", "aa", "aaa"])
    assert encoder.batches == [["aaaa", "aaa"], ["aa", "a"]]


async def test_batch_small_call_behind_a_large_one_does_not_wait_for_all_of_it() -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()
    async with batching(encoder, batch_size=4) as batcher:
        large = batcher.open().submit([f"large {i}" for i in range(40)])
        await until(lambda: len(encoder.batches) == 1)
        small = batcher.open().submit(["small"])
        encoder.gate.set()
        await small
        assert not large.done()
        await large
    assert any("small" in batch for batch in encoder.batches[:3])


async def test_lane_left_early_drops_its_texts_and_not_those_of_others() -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()
    async with batching(encoder, batch_size=1) as batcher:
        first = batcher.open().submit(["first"])
        await until(lambda: len(encoder.batches) == 1)
        with batcher.open() as lane:
            lane.submit(["dropped", "dropped too"])
            other = batcher.open().submit(["other"])
        assert batcher.queued == 1
        encoder.gate.set()
        await asyncio.gather(first, other)
    assert encoder.batches == [["first"], ["other"]]


async def test_encoder_error_fails_its_batch_and_the_next_one_works() -> None:
    async with batching(FakeEncoder()) as batcher:
        with pytest.raises(RuntimeError, match="asked to fail"):
            await batcher.open().submit(["boom"])
        assert len((await batcher.open().submit(["fine"])).rows) == 1


async def test_encoder_error_of_an_abandoned_call_leaves_no_complaint() -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()
    async with batching(encoder) as batcher:
        with batcher.open() as lane:
            lane.submit(["boom"])
            await until(lambda: len(encoder.batches) == 1)
        encoder.gate.set()
        await batcher.open().submit(["fine"])
    gc.collect()


async def test_open_with_a_full_queue_is_overloaded() -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()
    async with batching(encoder, batch_size=1, max_queued_texts=2) as batcher:
        batcher.open().submit(["in the encoder"])
        await until(lambda: len(encoder.batches) == 1)
        batcher.open().submit(["one", "two"])
        with pytest.raises(OverloadedError, match="2 texts wait"):
            batcher.open()


async def test_stop_with_waiting_texts_fails_them_as_not_ready() -> None:
    encoder = FakeEncoder()
    encoder.gate.clear()
    async with batching(encoder, batch_size=1) as batcher:
        futures = [batcher.open().submit([f"{i}"]) for i in range(2)]
        await until(lambda: len(encoder.batches) == 1)
        encoder.gate.set()
        await batcher.stop()
        results = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(result, NotReadyError) for result in results)
