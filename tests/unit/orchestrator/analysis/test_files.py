"""Evidence as files: what is packed comes back equal, and a damaged or hostile zip is refused by name."""

import contextlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Output, Vectors
from services.orchestrator.analysis.files import (
    evidence_files,
    evidence_from_files,
    evidence_sha256,
    pack_evidence,
    unpack_evidence,
)

_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_OBJECT = st.dictionaries(_TEXT, _JSON, max_size=4)


@st.composite
def _vectors(draw: Any) -> Vectors:
    texts = draw(st.lists(_TEXT, unique=True, max_size=5))
    rows = np.frombuffer(draw(st.binary(min_size=12 * len(texts), max_size=12 * len(texts))), dtype="<f4")
    return Vectors(texts, rows.reshape(len(texts), 3), draw(_TEXT), draw(_TEXT))


_EVIDENCE = st.builds(
    Evidence,
    study=_OBJECT,
    topic_ids=st.lists(_TEXT, max_size=3).map(tuple),
    split=st.dictionaries(
        st.sampled_from(["train", "validation", "test"]),
        st.dictionaries(_TEXT, st.lists(st.integers(0, 99), max_size=3).map(tuple), max_size=3),
    ),
    arms=st.lists(
        st.builds(Arm, _TEXT, st.sampled_from(ArmKind), st.none() | st.integers(0, 9), _TEXT, _TEXT, _TEXT),
        max_size=3,
    ).map(tuple),
    outputs=st.lists(
        st.builds(Output, _TEXT, _TEXT, st.integers(0, 99), st.integers(0, 9), _TEXT), max_size=4
    ).map(tuple),
    vectors=st.dictionaries(st.sampled_from(["primary", "second"]), _vectors()),
    probes=_OBJECT,
    facts=_OBJECT,
)


def _plain(evidence: Evidence) -> Evidence:
    return Evidence(evidence.study, evidence.topic_ids, evidence.split, evidence.arms, evidence.outputs, {})


def _small() -> Evidence:
    return Evidence(
        study={"seed": 3},
        topic_ids=("ri",),
        split={"train": {"ri": ()}, "test": {"ri": (0, 1)}},
        arms=(Arm("tuned-s1", ArmKind.TUNED, 1, "gdpr", "a", "b"),),
        outputs=(Output("original", "ri", 0, 0, "Be fair.\u2028Always."),),
        vectors={"primary": Vectors(["Be fair.\u2028Always.", "b"], np.eye(2, dtype=np.float32), "e", "f")},
        facts={"best_iteration": 2},
    )


@given(_EVIDENCE)
@settings(max_examples=60, deadline=None)
def test_unpack_evidence_of_what_was_packed_gives_equal_evidence(evidence: Evidence) -> None:
    data = pack_evidence(evidence)
    found = unpack_evidence(data)
    assert _plain(found) == _plain(evidence)
    assert found.probes == evidence.probes
    assert found.facts == evidence.facts
    assert list(found.study) == list(evidence.study)
    assert set(found.vectors) == set(evidence.vectors)
    for name, vectors in evidence.vectors.items():
        back = found.vectors[name]
        assert (back.texts, back.encoder, back.fingerprint) == (
            vectors.texts,
            vectors.encoder,
            vectors.fingerprint,
        )
        assert back.rows.tobytes() == vectors.rows.tobytes()
        assert back.rows.shape == vectors.rows.shape
    assert pack_evidence(found) == data


def test_pack_evidence_twice_gives_equal_bytes_without_times() -> None:
    data = pack_evidence(_small())
    assert data == pack_evidence(_small())
    assert len(evidence_sha256(_small())) == 64
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("value", [float("nan"), {"deep": float("inf")}, object(), "\ud800"])
def test_pack_evidence_with_what_json_cannot_hold_names_the_entry(value: Any) -> None:
    evidence = Evidence({}, (), {}, (), (), {}, probes={"utility": value})
    with pytest.raises(ValueError, match=r"probes\.json"):
        pack_evidence(evidence)


def test_pack_evidence_with_rows_in_float64_is_refused() -> None:
    vectors = Vectors(["a"], np.ones((1, 2)), "e", "f")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"vectors/primary\.npy: .*float64"):
        pack_evidence(Evidence({}, (), {}, (), (), {"primary": vectors}))


@pytest.mark.parametrize("name", sorted(dict(evidence_files(_small()))))
def test_unpack_evidence_without_an_entry_names_it(name: str) -> None:
    files = dict(evidence_files(_small()))
    del files[name]
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        evidence_from_files(files)


def _json_changed(change: Any) -> bytes:
    head = json.loads(dict(evidence_files(_small()))["evidence.json"])
    change(head)
    return json.dumps(head).encode()


_OUTPUT = {"arm": "a", "topic_id": "t", "index": 0, "sample": 0, "text": "x"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("extra.json", b"{}", "extra.json: no such file"),
        ("vectors/third.npy", b"", "vectors/third.npy: no such file"),
        ("study.json", b"[]", "study.json: a JSON object expected"),
        ("study.json", b'{"a": NaN}', "study.json: NaN"),
        ("study.json", b"\xff", "study.json"),
        ("study.json", b"[" * 100_000, "study.json"),
        ("outputs.jsonl", b"{}", "outputs.jsonl: the last line is cut off"),
        ("outputs.jsonl", b"{}\n", "outputs.jsonl line 1"),
        ("outputs.jsonl", json.dumps(_OUTPUT | {"index": "0"}).encode() + b"\n", "outputs.jsonl line 1"),
        ("outputs.jsonl", json.dumps(_OUTPUT | {"more": 1}).encode() + b"\n", "line 1: unknown more"),
        ("evidence.json", _json_changed(lambda head: head.update(format="zip")), "evidence.json: format"),
        ("evidence.json", _json_changed(lambda head: head.update(format_version=9)), "evidence.json: format"),
        ("evidence.json", _json_changed(lambda head: head.update(more=1)), "evidence.json: its keys"),
        ("evidence.json", _json_changed(lambda head: head.update(arms=3)), "evidence.json: arms"),
        ("evidence.json", _json_changed(lambda head: head.update(split=[])), "evidence.json: split"),
        ("evidence.json", _json_changed(lambda h: h["arms"][0].update(kind="x")), "evidence.json: Arm"),
        ("evidence.json", _json_changed(lambda h: h["vectors"].update({"../x": {}})), "no name of vectors"),
        ("vectors/primary.npy", b"\x80\x04N.", "vectors/primary.npy: no npy file"),
        ("vectors/primary.jsonl", b"{}\n", "1 texts for 2 rows"),
        ("vectors/primary.jsonl", b"{}\n{}\n", "primary.jsonl line 1"),
    ],
)
def test_evidence_from_files_with_a_malformed_file_names_it(name: str, content: bytes, message: str) -> None:
    files = {**dict(evidence_files(_small())), name: content}
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        evidence_from_files(files)


def _npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def _with_shape(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 16


@pytest.mark.parametrize(
    "content",
    [
        _npy(np.array([{}, {}], dtype=object), allow_pickle=True),
        _npy(np.ones((2, 2))),
        _npy(np.asfortranarray(np.ones((2, 3), dtype=np.float32))),
        _npy(np.ones(4, dtype=np.float32)),
        _with_shape("(2, 1000000000000)"),
        _with_shape("(-2, -2)"),
        _with_shape("(2, 'x')"),
        _with_shape("__import__('os')"),
        _npy(np.ones((2, 2), dtype=np.float32))[:-4],
        _npy(np.ones((2, 2), dtype=np.float32)) + b"more",
    ],
)
def test_evidence_from_files_with_hostile_rows_names_them(content: bytes) -> None:
    files = {**dict(evidence_files(_small())), "vectors/primary.npy": content}
    with pytest.raises(ValueError, match=r"vectors/primary\.npy"):
        evidence_from_files(files)


def test_evidence_from_files_with_a_changed_row_or_text_says_which() -> None:
    files = dict(evidence_files(_small()))
    row = files["vectors/primary.npy"][:-1] + b"\x7f"
    with pytest.raises(ValueError, match=r"primary\.jsonl line 2: the row's sha256"):
        evidence_from_files({**files, "vectors/primary.npy": row})
    text = files["vectors/primary.jsonl"].replace(b'"text": "b"', b'"text": "c"')
    with pytest.raises(ValueError, match=r"primary\.jsonl line 2: the text's sha256"):
        evidence_from_files({**files, "vectors/primary.jsonl": text})
    escaped = files["vectors/primary.jsonl"].replace(b'"text": "b"', b'"text": "\\ud800"')
    with pytest.raises(ValueError, match=r"primary\.jsonl line 2"):
        evidence_from_files({**files, "vectors/primary.jsonl": escaped})


def _zip(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../evidence.json", "a/../../b", "a\\b", "C:x", "a//b", "folder/"]
)
def test_unpack_evidence_with_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain relative name"):
        unpack_evidence(_zip([(name, b"{}")]))


def test_unpack_evidence_refuses_what_expands_repeats_or_is_too_much() -> None:
    with pytest.raises(ValueError, match=r"study\.json: compressed"):
        unpack_evidence(_zip([("study.json", b" " * 1_000_000)], zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match=r"study\.json: more than 10 bytes"):
        unpack_evidence(_zip([("study.json", b" " * 11)]), max_bytes=10)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = _zip([("study.json", b"{}"), ("study.json", b"{}")])
    with pytest.raises(ValueError, match=r"study\.json: there twice"):
        unpack_evidence(twice)


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"\x80\x04N."])
def test_unpack_evidence_of_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a readable zip"):
        unpack_evidence(data)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_unpack_evidence_of_damaged_bytes_gives_value_error_or_other_evidence(data: st.DataObject) -> None:
    packed = bytearray(pack_evidence(_small()))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        unpack_evidence(bytes(packed))
