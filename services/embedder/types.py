"""What the encoder is and gives, without protobuf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Identity of a sentence encoder.

    ``normalized`` is true if the model itself gives rows of Euclidean length 1. ``fingerprint``
    is a sha256 (hex) over weights, tokenizer, pooling, normalisation and precision. ``device`` is PyTorch's
    type of the device that it runs on.
    """

    model: str
    dimension: int
    fingerprint: str
    max_tokens: int
    normalized: bool
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Encoded:
    """``rows``: float32, (texts, dimension). ``truncated``: bool, (texts,)."""

    rows: NDArray[np.float32]
    truncated: NDArray[np.bool_]


class Encoder(Protocol):
    """A sentence encoder. ``encode`` blocks, and is only ever called from one thread at a time."""

    @property
    def info(self) -> EncoderInfo: ...

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Rows of the texts, in order; any number of texts from one on."""
        ...
