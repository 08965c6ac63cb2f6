"""A head trained on real sentence embeddings (all-MiniLM-L6-v2)."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.artifacts import ArtifactStore
from services.orchestrator.analysis.values.dimensions import VALUES, soft_scores
from services.orchestrator.analysis.values.head import unpack_head
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.ports import Embeddings, EncoderInfo
from services.orchestrator.values_training import HeadOptions, ValuesTraining
from tests.fakes.orchestrator import migrated_store
from tests.fakes.value_services import WordJudge
from tests.fulcra_shape import COMMON, as_lines, rows

pytestmark = pytest.mark.slow


class RealEmbedder:
    """The embedder's encoder module as the port."""

    def __init__(self, folder: Path) -> None:
        from services.embedder.encoder import SentenceTransformerEncoder

        options: dict[str, Any] = {"revision": None, "device": "cpu", "precision": "float32", "threads": 0}
        self._encoder = SentenceTransformerEncoder.load(str(folder), **options)

    async def describe(self) -> EncoderInfo:
        return EncoderInfo("all-MiniLM-L6-v2", 384, "m" * 64, 256)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        encoded = await asyncio.to_thread(self._encoder.encode, list(texts))
        return Embeddings(np.asarray(encoded.rows, dtype=np.float32), tuple(encoded.truncated))


async def test_head_on_real_embeddings_agrees_above_chance_and_reads_sentences_it_never_saw(
    minilm: Path, tmp_path: Path
) -> None:
    store, _ = migrated_store(tmp_path)
    assets = AssetLibrary(store.assets, ArtifactStore(str(tmp_path / "artifacts")))
    embedder = RealEmbedder(minilm)
    jobs = ValuesTraining(embedder, WordJudge(), assets)
    clean = rows(250)
    dirty = [
        *clean,
        clean[0],
        "{",
        {**clean[1], "dialogue": "Human: a\nBob: b", "value_types": ["humility: +1"]},
    ]
    job = await jobs.train(as_lines(dirty).encode(), "made", HeadOptions())
    async with asyncio.timeout(200):
        while not job.ended:
            await asyncio.sleep(0.05)
    assert (job.state, job.error_message) == ("succeeded", "")
    measured = {item.value: item for item in job.agreement if item.status == "measured"}
    assert set(measured) == set(COMMON)
    for item in measured.values():
        assert item.kappa.low > 0
        assert item.above_chance
    silent = {item.value for item in job.agreement if item.status == "too_few_labels"}
    assert silent == set(VALUES) - set(COMMON)
    head = unpack_head(await assets.content(job.sha256))
    unseen = ["Install an alarm so that burglars stay out.", "Rob the bank with a gun and speed away."]
    found = head.probabilities((await embedder.embed(unseen)).rows)
    safe, unsafe = soft_scores(found["security"])
    assert safe > unsafe + 0.3
    assert "hedonism" not in found
    store.close()
