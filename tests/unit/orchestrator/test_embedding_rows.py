"""Kept rows: exact, and checked for where they lie."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.orchestrator.embedding_rows import KeptRow, text_key


@given(arrays(np.uint32, st.integers(1, 40)))
def test_kept_row_any_bits_come_back_bit_by_bit(bits: np.ndarray) -> None:
    row = bits.view(np.float32)
    kept = KeptRow.of(row, truncated=False)
    assert kept.row.dtype == np.float32
    assert kept.row.tobytes() == row.tobytes()
    assert kept.dimension == len(bits)


def test_check_differs_by_everything_that_it_covers() -> None:
    row = KeptRow.of(np.array([1.0, 2.0], dtype=np.float32), truncated=False)
    other = KeptRow.of(np.array([1.0, 2.5], dtype=np.float32), truncated=False)
    cut = KeptRow(row.row_bytes, truncated=True)
    checks = [row.check("f", "t"), row.check("g", "t"), row.check("f", "u"), other.check("f", "t")]
    assert len({*checks, cut.check("f", "t")}) == 5


def test_text_key_is_the_sha256_of_the_exact_text() -> None:
    assert text_key("Be honest.") == hashlib.sha256(b"Be honest.").hexdigest()
    # The same letter as one code point and as two.
    texts = ("Be honest.", "be honest.", "Be honest. ", "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\u0301")
    assert len({text_key(text) for text in texts}) == 5
