"""The real encoder module on a real model (all-MiniLM-L6-v2)."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.errors import PreconditionError

pytestmark = pytest.mark.slow

TEXTS = [
    "Be honest.",
    "A model should tell people what it does not know, and say so before it is asked.",
    "人们应当诚实。",
    "لا تكذب على الناس",
    "Respect the privacy of every person whose data you hold. " * 6,
    "x",
]


def load(folder: Path, **changes: Any) -> Any:
    from services.embedder.encoder import SentenceTransformerEncoder

    options = {"revision": None, "device": "cpu", "precision": "float32", "threads": 0, **changes}
    return SentenceTransformerEncoder.load(str(folder), **options)


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> Any:
    return load(minilm)


@pytest.fixture(scope="module")
def reference(minilm: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


def test_encode_rows_equal_sentence_transformers(encoder: Any, reference: Any) -> None:
    expected = reference.encode(TEXTS, show_progress_bar=False)
    encoded = encoder.encode(TEXTS)
    assert encoded.rows.dtype == np.float32
    np.testing.assert_allclose(encoded.rows, expected, atol=1e-5)


def test_encode_row_does_not_depend_on_its_batch(encoder: Any) -> None:
    together = encoder.encode(TEXTS).rows
    alone = np.concatenate([encoder.encode([text]).rows for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_encode_truncation_is_flagged_at_the_exact_token(encoder: Any) -> None:
    # "word" is one token; two more are the model's own [CLS] and [SEP].
    fits = " ".join(["word"] * (encoder.info.max_tokens - 2))
    encoded = encoder.encode([fits, f"{fits} word", "short"])
    assert encoded.truncated.tolist() == [False, True, False]
    np.testing.assert_allclose(encoded.rows[0], encoded.rows[1], atol=1e-5)


def test_info_names_what_the_model_declares(encoder: Any, minilm: Path) -> None:
    info = encoder.info
    assert (info.model, info.dimension, info.max_tokens, info.normalized) == (str(minilm), 384, 256, True)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(TEXTS).rows, axis=1), 1.0, atol=1e-5)


def test_model_without_normalize_module_says_so_and_is_left_alone(
    encoder: Any, minilm: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(minilm, copy)
    text = (copy / "modules.json").read_text(encoding="utf-8")
    head, _, _ = text.rpartition("{")
    (copy / "modules.json").write_text(head.rstrip().rstrip(",") + "]", encoding="utf-8")
    raw = load(copy)
    assert not raw.info.normalized
    assert raw.info.fingerprint != encoder.info.fingerprint
    lengths = np.linalg.norm(raw.encode(TEXTS).rows, axis=1)
    assert np.abs(lengths - 1).max() > 0.1


def test_fingerprint_of_a_copy_is_the_same(encoder: Any, minilm: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(minilm, copy)
    assert load(copy).info.fingerprint == encoder.info.fingerprint


def test_bfloat16_is_near_float32_and_has_its_own_fingerprint(encoder: Any, minilm: Path) -> None:
    other = load(minilm, precision="bfloat16")
    assert other.info.fingerprint != encoder.info.fingerprint
    rows, exact = other.encode(TEXTS).rows, encoder.encode(TEXTS).rows
    assert rows.dtype == np.float32
    assert (1 - (rows * exact).sum(axis=1) / np.linalg.norm(rows, axis=1)).max() < 5e-3


@pytest.mark.parametrize("kind", ["missing", "empty", "not-a-model"])
def test_load_something_that_is_no_model_is_a_clear_precondition_error(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    if kind != "missing":
        folder.mkdir()
    if kind == "not-a-model":
        (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(PreconditionError, match="folder"):
        load(folder)


def test_load_unknown_device_is_a_clear_precondition_error(minilm: Path) -> None:
    with pytest.raises(PreconditionError, match="cannot load the sentence encoder"):
        load(minilm, device="abacus")
