"""Headers are checked as the library would, and before it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.common.safetensors_files import check_finite, read_header
from tests.fakes.hostile_adapters import good_header, raw_safetensors


def test_read_header_gives_what_the_library_wrote(tmp_path: Path) -> None:
    path = tmp_path / "x"
    arrays = {
        "b": np.zeros((2, 3), np.float32),
        "a": np.ones((4,), np.float16),
        "e": np.zeros((0, 2), np.int8),
    }
    path.write_bytes(save(arrays, metadata={"format": "pt"}))
    header, start = read_header(path)
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    begin, end = header["a"]["data_offsets"]
    assert path.read_bytes()[start + begin : start + end] == arrays["a"].tobytes()
    for name in ("a", "b"):
        check_finite(name, header[name], path, start)
    with pytest.raises(ValueError, match="of type 'I8'"):
        check_finite("e", header["e"], path, start)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 1000), st.integers(0, 255))
def test_read_header_takes_nothing_that_the_library_refuses(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    header, data = good_header()
    raw = bytearray(raw_safetensors(header, data))
    raw[place % len(raw)] = byte
    path = tmp_path_factory.mktemp("one") / "x"
    path.write_bytes(raw)
    try:
        found, start = read_header(path)
        for name, entry in found.items():
            check_finite(name, entry, path, start)
    except ValueError:
        return
    try:
        arrays = load(bytes(raw))
    except SafetensorError as error:
        raise AssertionError(f"taken, but the library says {error}") from error
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_check_finite_reads_across_the_parts_it_reads_in(tmp_path: Path) -> None:
    array = np.zeros(3_000_000, np.float32)
    array[-1] = np.nan
    path = tmp_path / "x"
    path.write_bytes(save({"a": array}))
    header, start = read_header(path)
    with pytest.raises(ValueError, match="NaN"):
        check_finite("a", header["a"], path, start)
