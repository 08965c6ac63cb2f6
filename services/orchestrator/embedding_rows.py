"""Embedding rows that are kept, and how they are named and checked. Pure but for the port."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class KeptRow:
    """One text's row as its encoder gave it: float32, little endian. ``truncated``: the text was cut."""

    row_bytes: bytes
    truncated: bool

    @classmethod
    def of(cls, row: NDArray[np.float32], truncated: bool) -> "KeptRow":
        """Bit by bit, NaN and signed zero included."""
        return cls(row.astype("<f4", copy=False).tobytes(), truncated)

    @property
    def dimension(self) -> int:
        """Numbers in it."""
        return len(self.row_bytes) // 4

    @property
    def row(self) -> NDArray[np.float32]:
        """Shape (dimension,)."""
        return np.frombuffer(self.row_bytes, dtype="<f4").astype(np.float32, copy=False)

    def check(self, fingerprint: str, text_sha256: str) -> bytes:
        """sha256 over the row and what it is the row of: one that lies at a wrong place fails too."""
        named = f"{fingerprint}\0{text_sha256}\0{self.dimension}\0{int(self.truncated)}\0"
        return hashlib.sha256(named.encode() + self.row_bytes).digest()


def text_key(text: str) -> str:
    """sha256 (hex) of the exact text in UTF-8: no case, space or Unicode form is folded."""
    return hashlib.sha256(text.encode()).hexdigest()


class EmbeddingRows(Protocol):
    """A bounded store of rows that every process shares. Its methods block; ValignError if it is away."""

    def get(self, fingerprint: str, keys: Sequence[str]) -> dict[str, KeptRow]:
        """Those that are there and whole."""
        ...

    def put(self, fingerprint: str, rows: Mapping[str, KeptRow]) -> None:
        """Keep rows; one that is there already stays as it is."""
        ...
