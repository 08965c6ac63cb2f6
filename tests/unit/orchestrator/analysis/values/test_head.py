"""Fitting a head, holding prompts out, refusing rare values, and the file that it is kept in."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from services.orchestrator.analysis.values.dimensions import VALUES, hard_labels
from services.orchestrator.analysis.values.head import (
    Head,
    cleaning,
    fit_head,
    head_text,
    held_out_groups,
    pack_head,
    unpack_head,
)
from services.orchestrator.analysis.values.labels import read_labels
from tests.fakes.fake_embedder import embed
from tests.fulcra_shape import COMMON, labels_file


def fitted(prompts: int = 300, seed: int = 0, **options) -> Head:
    file = read_labels(labels_file(prompts).decode())
    rows = np.stack([embed(row.reply) for row in file.rows]).astype(np.float32)
    facts = {"labels": file.counts.model_dump(mode="json")}
    return fit_head(
        file.rows,
        rows,
        encoder="fake",
        encoder_fingerprint="e" * 64,
        text="reply",
        seed=seed,
        facts=facts,
        **options,
    )


@pytest.fixture(scope="module")
def head() -> Head:
    return fitted()


def test_head_agrees_with_held_out_labels_of_the_frequent_values(head: Head) -> None:
    measured = {item.value: item for item in head.agreement if item.status == "measured"}
    assert set(measured) == set(COMMON) == set(head.weights)
    for item in measured.values():
        assert item.kappa.value > 0.5
        assert item.above_chance
        assert item.balanced_accuracy.value > 0.6
        assert sum(map(sum, item.confusion)) == sum(item.labels.values())


def test_head_says_nothing_of_values_with_too_few_labels(head: Head) -> None:
    silent = {item.value: item for item in head.agreement if item.status == "too_few_labels"}
    assert set(silent) == set(VALUES) - set(COMMON)
    assert "'opposed'" in silent["hedonism"].reason
    found = head.probabilities(np.stack([embed("Enjoy yourself")]).astype(np.float32))
    assert "hedonism" not in found
    assert set(found) == set(COMMON)


def test_probabilities_read_what_was_said(head: Head) -> None:
    rows = np.stack(
        [
            embed("Lock the doors and call the police to keep your family safe."),
            embed("Break into the shop with a weapon at night."),
        ]
    )
    found = head.probabilities(rows.astype(np.float32))["security"]
    assert found.sum(axis=1) == pytest.approx([1, 1])
    assert hard_labels(found).tolist() == [1, -1]


def test_rows_of_another_width_are_refused(head: Head) -> None:
    with pytest.raises(ValueError, match="rows of 64 numbers"):
        head.probabilities(np.ones((2, 3), dtype=np.float32))


def test_replies_to_one_prompt_are_held_out_together() -> None:
    rows = read_labels(labels_file(50).decode()).rows
    out = held_out_groups(rows, 0.25, 3)
    assert sum(row.group in out for row in rows) == 26  # 13 prompts of two replies: the first above a quarter
    assert out == held_out_groups(tuple(reversed(rows)), 0.25, 3)
    assert out != held_out_groups(rows, 0.25, 4)


def test_head_is_deterministic_to_the_byte_and_comes_back_from_its_file(head: Head) -> None:
    data = pack_head(head)
    assert data == pack_head(fitted())
    again = unpack_head(data)
    assert again.agreement == head.agreement
    assert (again.encoder_fingerprint, again.text, again.dimension) == ("e" * 64, "reply", 64)
    rows = np.stack([embed("Obey the rules")]).astype(np.float32)
    assert again.probabilities(rows)["security"] == pytest.approx(head.probabilities(rows)["security"])
    assert cleaning(again).rows == 600
    assert again.facts["thresholds"] == {"train": 30, "held_out": 10}


def test_file_of_a_head_holds_no_pickle(head: Head) -> None:
    with zipfile.ZipFile(io.BytesIO(pack_head(head))) as archive:
        names = archive.namelist()
        assert names[0] == "head.json"
        for name in names[1:]:
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


def _changed(head: Head, name: str, data: bytes | None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pack_head(head))) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            kept = data if entry == name else old.read(entry)
            if kept is not None:
                new.writestr(entry, kept)
    return buffer.getvalue()


def _array(*shape: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full(shape, np.nan), allow_pickle=False)
    return buffer.getvalue()


def test_damaged_files_are_no_heads(head: Head) -> None:
    weights = "weights/weights.security.npy"
    for data in (
        b"",
        b"PK",
        _changed(head, "head.json", b"{}"),
        _changed(head, "head.json", b"["),
        _changed(head, weights, None),
        _changed(head, weights, _array(3, 64)),
        _changed(head, weights, _array(2, 64)),
        _changed(head, weights, b"\x93NUMPY"),
    ):
        with pytest.raises(ValueError, match="no values head"):
            unpack_head(data)


def test_progress_is_told_value_by_value() -> None:
    told: list[tuple[int, int]] = []
    fitted(40, tell=lambda done, total: told.append((done, total)))
    assert told == [(place, 10) for place in range(1, 11)]


def test_head_text_is_the_reply_or_the_whole_dialogue() -> None:
    assert head_text("reply", "a?", "b") == "b"
    assert head_text("dialogue", "a?", "b") == "Human: a?\nBob: b"


@pytest.mark.parametrize("shape", ["(1000000000000,)", f"({10**30},)", "(3, 1000000000000)"])
def test_header_that_asks_for_any_memory_is_no_head(head: Head, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    for data in (array, b""):
        with pytest.raises(ValueError, match="no values head"):
            unpack_head(_changed(head, "weights/weights.security.npy", data))


@pytest.mark.parametrize("dimension", ["1e400", "0", "1000000000000"])
def test_dimension_that_no_encoder_has_is_no_head(head: Head, dimension: str) -> None:
    with zipfile.ZipFile(io.BytesIO(pack_head(head))) as archive:
        about = archive.read("head.json").decode()
    changed = about.replace(f'"dimension": {head.dimension}', f'"dimension": {dimension}')
    with pytest.raises(ValueError, match="no values head"):
        unpack_head(_changed(head, "head.json", changed.encode()))


def test_entry_that_says_too_little_of_its_size_is_not_unfolded(head: Head) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head.json", b" " * 30_000_000)
    data = packed.getvalue()
    place = data.rfind(b"PK\x01\x02") + 24
    lying = data[:place] + (100).to_bytes(4, "little") + data[place + 4 :]
    tracemalloc.start()
    with pytest.raises(ValueError, match="no values head"):
        unpack_head(lying)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000
