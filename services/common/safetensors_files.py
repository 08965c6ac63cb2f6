"""Safetensors files from strangers, checked before any library reads them.

The format: 8 bytes with the header's length, a JSON header with each tensor's type, shape and place, and
the bytes (https://github.com/huggingface/safetensors#format). Nothing is unpickled, and memory stays small
whatever the file says of itself.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from services.common.strict_json import loads

MAX_HEADER_BYTES = 32 * 1024 * 1024
# A tensor's entry has 4 brackets and about 6 commas: two million tensors.
_MAX_PARTS = 20_000_000
_CHUNK_BYTES = 4 * 1024 * 1024
_LARGEST = 2**40
_ENTRY = {"dtype", "shape", "data_offsets"}
# A float is not finite if all bits of its exponent are set.
EXPONENTS: Mapping[str, tuple[type[np.generic], int]] = {
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}


def read_header(
    path: Path, *, max_header_bytes: int = MAX_HEADER_BYTES, max_parts: int = _MAX_PARTS
) -> tuple[dict[str, dict[str, Any]], int]:
    """The tensors of a file by name (``dtype``, ``shape``, ``data_offsets``), and where their bytes begin.

    Raises:
        ValueError: no safetensors file: not even one whose tensors lie one after the other and fill it.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size_bytes < 8 or length > min(max_header_bytes, size_bytes - 8):
            raise ValueError(f"header of {length} bytes in a file of {size_bytes} bytes")
        header = loads(file.read(length), max_parts=max_parts)
    if not isinstance(header, dict):
        raise ValueError("header is no object")
    notes = header.pop("__metadata__", None)
    if notes is not None and not (
        isinstance(notes, dict) and all(isinstance(v, str) for v in notes.values())
    ):
        raise ValueError("__metadata__ of the header is not texts by name")
    for name, entry in header.items():
        _check_entry(name, entry)
    _check_places(header, size_bytes - 8 - length)
    return header, 8 + length


def check_finite(name: str, entry: Mapping[str, Any], path: Path, start: int) -> None:
    """ValueError for a tensor of a checked header that holds NaN or infinity, or is of another type."""
    if entry["dtype"] not in EXPONENTS:
        raise ValueError(
            f"tensor {name} is of type {ascii(entry['dtype'])[:40]}; {', '.join(EXPONENTS)} are taken"
        )
    dtype, exponent = EXPONENTS[entry["dtype"]]
    begin, end = entry["data_offsets"]
    size = np.dtype(dtype).itemsize
    if end - begin != math.prod(entry["shape"]) * size:
        raise ValueError(f"tensor {name}: its bytes do not fit its shape")
    with path.open("rb") as file:
        file.seek(start + begin)
        left = end - begin
        while left > 0:
            data = file.read(min(left, _CHUNK_BYTES))
            if not data or len(data) % size:
                raise ValueError(f"tensor {name}: the file ends before it does")
            bits = np.frombuffer(data, dtype=dtype)
            if np.any((bits & exponent) == exponent):
                raise ValueError(f"tensor {name} holds NaN or infinity")
            left -= len(data)


def _check_entry(name: str, entry: Any) -> None:
    shown = ascii(name)[:200]
    if not isinstance(entry, dict) or set(entry) != _ENTRY or not isinstance(entry["dtype"], str):
        raise ValueError(f"tensor {shown}: its entry is not dtype, shape and data_offsets")
    shape, places = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or len(shape) > 8 or not all(map(_is_count, shape)):
        raise ValueError(f"tensor {shown}: {ascii(shape)[:80]} is no shape")
    if not isinstance(places, list) or len(places) != 2 or not all(map(_is_count, places)):
        raise ValueError(f"tensor {shown}: {ascii(places)[:80]} is no place in the file")


def _check_places(header: Mapping[str, Mapping[str, Any]], size_bytes: int) -> None:
    """One after the other, from the first byte to the last: none is read twice, and nothing is hidden."""
    reached = 0
    for begin, end, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        if begin != reached or end < begin or end > size_bytes:
            raise ValueError(
                f"tensor {ascii(name)[:200]}: its bytes do not fit its shape or the file: from {begin} to"
                f" {end} of {size_bytes}, after one that ends at {reached}"
            )
        reached = end
    if reached != size_bytes:
        raise ValueError(f"{size_bytes - reached} bytes of the file belong to no tensor")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
