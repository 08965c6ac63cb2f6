"""The orchestrator's embedder client against a servicer of the contract, over real gRPC."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from services.common.rpc.client import open_channel
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.patience import Patience
from tests.fakes.fake_embedder import DIMENSION, embed
from tests.fakes.fake_services import FakeServices, fake_services


@pytest.fixture
async def fakes() -> AsyncIterator[FakeServices]:
    async with fake_services() as services:
        yield services


@pytest.fixture
async def client(fakes: FakeServices) -> AsyncIterator[GrpcEmbedder]:
    async with open_channel(fakes.target) as channel:
        yield GrpcEmbedder(channel, Patience(wait_s=3.0, call_s=3.0))


async def test_embed_many_texts_rows_keep_their_order(client: GrpcEmbedder) -> None:
    texts = [f"text {number}" for number in range(1000)]
    found = await client.embed(texts)
    assert found.rows.shape == (1000, DIMENSION)
    assert found.rows.dtype == np.float32
    np.testing.assert_array_equal(found.rows, np.stack([embed(text) for text in texts]))


async def test_embed_stream_breaks_goes_on_behind_the_last_row(
    client: GrpcEmbedder, fakes: FakeServices
) -> None:
    fakes.embedder.break_after = 48
    texts = [f"text {number}" for number in range(100)]
    found = await client.embed(texts)
    np.testing.assert_array_equal(found.rows, np.stack([embed(text) for text in texts]))
    assert fakes.embedder.texts_seen == 100 + 52


async def test_embed_no_texts_calls_nobody(client: GrpcEmbedder, fakes: FakeServices) -> None:
    assert (await client.embed([])).rows.shape[0] == 0
    assert fakes.embedder.texts_seen == 0
