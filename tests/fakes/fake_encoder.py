"""An encoder without a model: a row is a function of its text alone, so order can be checked."""

import hashlib
import threading
import time
from collections.abc import Sequence

import numpy as np

from services.embedder.types import Encoded, EncoderInfo

DIMENSION = 4
MAX_CHARACTERS = 50


def row_of(text: str) -> np.ndarray:
    """The row that FakeEncoder gives for a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return np.frombuffer(digest[: 2 * DIMENSION], dtype="<u2").astype(np.float32)


class FakeEncoder:
    """Records its batches. ``gate`` holds it back, ``delay_s`` slows it, "boom" in a text makes it fail."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.info = EncoderInfo("fake", DIMENSION, "f" * 64, MAX_CHARACTERS, normalized=False)
        self.delay_s = delay_s
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> Encoded:
        self.batches.append(list(texts))
        assert self.gate.wait(30)
        time.sleep(self.delay_s)
        if any("boom" in text for text in texts):
            raise RuntimeError("the fake encoder was asked to fail")
        return Encoded(
            np.stack([row_of(text) for text in texts]),
            np.array([len(text) > MAX_CHARACTERS for text in texts], dtype=np.bool_),
        )
