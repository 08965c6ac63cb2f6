"""The cache before a real encoder (all-MiniLM-L6-v2): its rows, bit by bit, whatever the batch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from services.common.pb.embedder.v1 import embedder_pb2_grpc
from services.embedder.batcher import Batcher
from services.embedder.servicer import EmbedderServicer
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.embedding_cache import CachedEmbedder
from tests.fakes.orchestrator import migrated_store
from tests.fakes.servers import grpc_channel

pytestmark = pytest.mark.slow

TEXTS = [f"Case {n}: be honest{' and respect the privacy of everybody' * (n % 7)}." for n in range(60)]


async def test_rows_of_a_real_encoder_come_back_bit_by_bit_in_any_company(
    minilm: Path, tmp_path: Path
) -> None:
    from services.embedder.encoder import SentenceTransformerEncoder

    store, _ = migrated_store(tmp_path)
    servicer = EmbedderServicer(window_texts=512)
    with ThreadPoolExecutor(1) as executor:
        encoder = SentenceTransformerEncoder.load(
            str(minilm), revision=None, device="cpu", precision="float32", threads=1
        )
        batcher = Batcher(encoder, executor, batch_size=32, max_wait_s=0.005, max_queued_texts=1000)
        batcher.start()
        servicer.serve(batcher)
        async with grpc_channel(
            lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
            "valign.embedder.v1.EmbedderService",
        ) as channel:
            bare = GrpcEmbedder(channel)
            cached = CachedEmbedder(bare, store.embedding_rows(1 << 30))
            first = await cached.embed(TEXTS)
            assert first.fingerprint == encoder.info.fingerprint
            for texts in (TEXTS[::-1], TEXTS[5:6], [*TEXTS[::3], "A text that is new."]):
                found = await cached.embed(texts)
                for text, row in zip(texts, found.rows, strict=True):
                    if text in TEXTS:
                        assert row.tobytes() == first.rows[TEXTS.index(text)].tobytes()
            # The encoder itself promises the row only within rounding.
            alone = np.stack([(await bare.embed([text])).rows[0] for text in TEXTS])
            np.testing.assert_allclose(first.rows, alone, atol=1e-5)
        await batcher.stop()
    store.close()
