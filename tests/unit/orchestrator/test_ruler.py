"""The ruler as a file: equal runs give equal bytes, and what is read is not trusted."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.analysis.archives import write_zip
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.domain.difference import value_differences
from services.orchestrator.ruler import Ruler, freeze, pack, unpack
from tests.evidence import make_evidence


def evidence(**changes: Any) -> Evidence:
    return make_evidence(2, 8, 2, measure_only=True, second=False, **changes)


def made(name: str = "bench", of: Evidence | None = None) -> Ruler:
    return freeze(of or evidence(), name, "r-1", "i" * 64, "model", "a" * 64)


def test_pack_equal_runs_give_equal_bytes_and_one_hash() -> None:
    data = pack(made())
    assert data == pack(made())
    assert unpack(data).sha256 == made().sha256
    assert pack(made("other")) != data
    assert pack(made(of=evidence(seed=1))) != data


def test_freeze_keeps_every_text_and_its_row() -> None:
    source = evidence()
    ruler = made(of=source)
    facts = ruler.facts
    assert [item.key for item in facts.inputs] == list(source.keys("test"))
    for item in facts.inputs:
        assert item.original == source.texts("original")[item.key][0]
        assert item.aligned == source.texts("aligned")[item.key]
        assert item.aligned[0] == source.targets()[item.key]
    for text, row in ruler.rows.items():
        assert np.array_equal(row, source.vectors["primary"].of([text])[0])
    assert facts.encoder_fingerprint == source.vectors["primary"].fingerprint
    assert (facts.prompt_set_id, facts.reference_set_id) == ("test-prompts", "test-set")
    assert facts.generation["temperature"] == 0.7


def test_own_difference_is_the_mean_over_all_pairs() -> None:
    ruler = made()
    rows = np.random.default_rng(0).normal(size=(5, ruler.facts.dimension)).astype(np.float32)
    targets = [item.aligned[0] for item in ruler.facts.inputs if item.topic_id == "topic-0"]
    every = [value_differences(row[None], ruler.rows[target][None])[0] for row in rows for target in targets]
    assert ruler.own_difference("topic-0", rows) == pytest.approx(np.mean(every), abs=1e-9)
    originals = [ruler.rows[item.original] for item in ruler.facts.inputs if item.topic_id == "topic-0"]
    assert ruler.benchmark_difference("topic-0") == ruler.own_difference("topic-0", np.stack(originals))


def test_freeze_topic_without_pair_is_refused() -> None:
    source = evidence()
    outputs = tuple(one for one in source.outputs if (one.arm, one.topic_id) != ("aligned", "topic-1"))
    broken = Evidence(source.study, source.topic_ids, source.split, source.arms, outputs, source.vectors)
    with pytest.raises(PreconditionError, match="topic-1"):
        made(of=broken)


def _files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    write_zip(buffer, files.items(), compression)
    return buffer.getvalue()


def _facts(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(files: dict[str, bytes]) -> None:
        facts = json.loads(files["ruler.json"])
        change(facts)
        files["ruler.json"] = json.dumps(facts).encode()

    return edit


def _rows(**arrays: Any) -> Callable[[dict[str, bytes]], None]:
    def edit(files: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(files["rows.npz"])) as there:
            changed = {name: arrays[name](there[name]) if name in arrays else there[name] for name in there}
        buffer = io.BytesIO()
        np.savez(buffer, **changed)
        files["rows.npz"] = buffer.getvalue()

    return edit


def _nan(rows: Any) -> Any:
    return np.full_like(rows, np.nan)


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda files: files.pop("rows.npz"), "entries"),
        (lambda files: files.update(extra=b""), "entries"),
        (lambda files: files.update({"ruler.json": b"{"}), "ruler.json"),
        (lambda files: files.update({"rows.npz": b"no zip"}), "zip"),
        (_facts(lambda facts: facts.update(format="other")), "format"),
        (_facts(lambda facts: facts.update(format_version=9)), "version 9"),
        (_facts(lambda facts: facts.update(surprise=1)), "surprise"),
        (_facts(lambda facts: facts["inputs"].pop()), "shape"),
        (_facts(lambda facts: facts["inputs"][1].update(facts["inputs"][0])), "twice"),
        (_facts(lambda facts: facts["topics"].pop()), "topics"),
        (_rows(original=lambda rows: rows[:-1]), "shape"),
        (_rows(aligned=lambda rows: rows.astype(np.float64)), "float64"),
        (_rows(aligned=np.zeros_like), "direction"),
        (_rows(original=_nan), "direction"),
        (_rows(original=lambda rows: rows.astype(object)), "rows.npz|Object arrays|pickle"),
    ],
)
def test_unpack_damaged_is_refused_with_what_is_wrong(edit: Any, word: str) -> None:
    files = _files(pack(made()))
    edit(files)
    with pytest.raises(InvalidInputError, match=word):
        unpack(_zip(files))


def test_unpack_compressed_or_no_zip_is_refused() -> None:
    files = _files(pack(made()))
    for data in (_zip(files, zipfile.ZIP_DEFLATED), b"", b"PK", b"x" * 1000):
        with pytest.raises(InvalidInputError, match="no ruler"):
            unpack(data)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000000000, 4)", f"({10**30}, 4)"])
def test_unpack_header_that_asks_for_any_memory_is_refused(shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    _refused_rows(array)


def test_unpack_rows_that_are_no_arrays_are_refused() -> None:
    _refused_rows(b"")
    _refused_rows(b"no array")


def _refused_rows(array: bytes) -> None:
    rows, zipped = io.BytesIO(), io.BytesIO()
    write_zip(rows, [("original.npy", array), ("aligned.npy", array)])
    with zipfile.ZipFile(io.BytesIO(pack(made()))) as whole:
        facts = whole.read("ruler.json")
    write_zip(zipped, [("ruler.json", facts), ("rows.npz", rows.getvalue())])
    with pytest.raises(InvalidInputError, match="this is no ruler"):
        unpack(zipped.getvalue())
