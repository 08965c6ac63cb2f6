"""Files of people who mean harm: tasks, labels, rulers, heads, agreements, bundles. Nothing but a refusal."""

import io
import json
import resource
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError
from services.orchestrator.analysis.files import pack_evidence, unpack_evidence
from services.orchestrator.analysis.values.head import fit_head, pack_head
from services.orchestrator.analysis.values.labels import read_labels
from services.orchestrator.assets import AssetKind, AssetLibrary
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.ruler import freeze, pack
from tests.bundles import bundle_of, make_run
from tests.evidence import make_evidence
from tests.fakes.fake_embedder import embed
from tests.fakes.orchestrator import migrated_store
from tests.fulcra_shape import labels_file

_MOST_GROWN_BYTES = 200 * 1024**2
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
_ROW = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}'
_HOSTILE_JSON: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    10**400,
    1e308,
    "",
    "\0",
    "../../etc/passwd",
    "x" * 100_000,
    [],
    {},
    [[]],
    {"a": {"b": []}},
    [None] * 1000,
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> AssetLibrary:
    folder = tmp_path_factory.mktemp("assets")
    store, _ = migrated_store(folder)
    return AssetLibrary(store.assets, ArtifactStore(str(folder / "artifacts")))


@pytest.fixture(scope="module")
def ruler() -> bytes:
    evidence = make_evidence(2, 8, 2, measure_only=True, second=False)
    return pack(freeze(evidence, "bench", "r-1", "i" * 64, "model", "a" * 64))


@pytest.fixture(scope="module")
def head() -> bytes:
    file = read_labels(labels_file(60).decode())
    rows = np.stack([embed(row.reply) for row in file.rows]).astype(np.float32)
    facts = {"labels": file.counts.model_dump(mode="json")}
    return pack_head(
        fit_head(
            file.rows, rows, encoder="e", encoder_fingerprint="e" * 64, text="reply", seed=0, facts=facts
        )
    )


def _put(library: AssetLibrary, kind: AssetKind, data: bytes) -> bool:
    """Whether it is kept; InvalidInputError is the one way to refuse it."""
    try:
        library._put(kind, "x", data, "asset.add", {})
    except InvalidInputError as refused:
        refused.message.encode()
        return False
    return True


@cache
def _bomb(*names: str) -> bytes:
    """A zip of some 500 kB whose entries unfold to half a GiB each."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            with archive.open(name, "w", force_zip64=True) as entry:
                for _ in range(512):
                    entry.write(b"\0" * 2**20)
    return made.getvalue()


@cache
def _nested() -> bytes:
    inner = _bomb("ruler.json")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(50):
            archive.writestr(f"{number}.zip", inner)
    return made.getvalue()


def _entry(name: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, b"x")
    return made.getvalue()


def _many_entries() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"weights/{number}", b"")
    return made.getvalue()


def _lying_size() -> bytes:
    """A stored zip whose directory says that its one entry has 4 GiB."""
    data = bytearray(_entry("ruler.json"))
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = b"\xfe\xff\xff\xff" * 2
    return bytes(data)


_FILES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "NUL": lambda: b"\0" * 1000,
    "bytes that are no UTF-8": lambda: b"\xff" * 1000,
    "a bomb": lambda: _bomb("ruler.json", "head.json"),
    "a bomb in its second entry": lambda: _bomb("head.json", "rows.npz"),
    "zips in a zip": _nested,
    "many entries": _many_entries,
    "a size that is a lie": _lying_size,
    "a name that leaves": lambda: _entry("../../../etc/cron.d/x"),
    "an absolute name": lambda: _entry("/etc/passwd"),
    "a name of Windows": lambda: _entry("C:\\x"),
    "a name with NUL": lambda: _entry("a\0b"),
    "half a zip": lambda: _entry("ruler.json")[:40],
    "deep JSON": lambda: b"[" * 1_000_000,
    "deep JSON objects": lambda: b'{"a":' * 1_000_000,
    "an endless integer": lambda: (
        b'{"question": "x", "choices": ["a", "b"], "answer": ' + b"9" * 10**6 + b"}"
    ),
    "one line of 2 MiB": lambda: b'{"question": "' + b"x" * 2**21 + b'"}',
    "many lines": lambda: b"{}\n" * 200_000,
    "many rows": lambda: (_ROW + b"\n") * 25_000 + b"{}",
    "a row with NaN": lambda: _ROW.replace(b"1}", b"NaN}"),
    "half a character": lambda: _ROW.replace(b"2 + 2 =", b"\\ud800"),
    "UTF-16": lambda: _ROW.decode().encode("utf-16"),
}


@pytest.mark.parametrize("kind", AssetKind)
@pytest.mark.parametrize("what", _FILES)
def test_asset_that_is_hostile_is_refused_and_unfolds_to_nothing_huge(
    library: AssetLibrary, what: str, kind: AssetKind
) -> None:
    data = _FILES[what]()
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert not _put(library, kind, data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes < _MOST_GROWN_BYTES


@pytest.mark.parametrize("what", _FILES)
def test_labels_that_are_hostile_are_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_labels(_FILES[what]().decode("latin-1"))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    # The first two entries of a list stand for all.
    for number, (key, item) in enumerate(inner):
        if number < 2 or isinstance(value, dict):
            found += _places(item, (*path, key))
    return found


def _changed(data: bytes, name: str, place: tuple[Any, ...], to: Any) -> bytes:
    """The zip with one value of one of its JSON files replaced."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    whole = json.loads(files[name])
    at = whole
    for key in place[:-1]:
        at = at[key]
    if to == "(gone)":
        del at[place[-1]]
    else:
        at[place[-1]] = to
    files[name] = json.dumps(whole).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return made.getvalue()


def _json_of(data: bytes, name: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return json.loads(archive.read(name))


@pytest.mark.parametrize(
    ("kind", "name"), [(AssetKind.RULER, "ruler.json"), (AssetKind.VALUES_HEAD, "head.json")]
)
def test_asset_with_any_value_of_its_json_replaced_is_kept_or_refused(
    library: AssetLibrary, kind: AssetKind, name: str, request: pytest.FixtureRequest
) -> None:
    whole = request.getfixturevalue("ruler" if kind is AssetKind.RULER else "head")
    assert _put(library, kind, whole)
    for place in _places(_json_of(whole, name)):
        for value in ("(gone)", *_HOSTILE_JSON):
            _put(library, kind, _changed(whole, name, place, value))


@settings(suppress_health_check=_SLOW)
@given(data=st.data(), kind=st.sampled_from((AssetKind.RULER, AssetKind.VALUES_HEAD)))
def test_asset_with_any_bytes_replaced_is_kept_or_refused(
    data: st.DataObject, kind: AssetKind, library: AssetLibrary, ruler: bytes, head: bytes
) -> None:
    whole = bytearray(ruler if kind is AssetKind.RULER else head)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        whole[at : at + len(piece)] = piece
    _put(library, kind, bytes(whole))


@settings(suppress_health_check=_SLOW)
@given(
    row=st.dictionaries(
        st.sampled_from(("question", "choices", "answer", "arguments", "target", "doc_id", "id")),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner)),
            max_leaves=8,
        ),
    )
)
def test_task_of_any_row_is_kept_or_refused(library: AssetLibrary, row: dict[str, Any]) -> None:
    _put(library, AssetKind.TASK, json.dumps(row).encode())


@settings(suppress_health_check=_SLOW)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "dialogue": st.one_of(st.text(), st.just("Human: a\nBob: b"), st.integers()),
                "value_types": st.recursive(
                    st.one_of(st.none(), st.integers(), st.text(max_size=12), st.just("security: -1")),
                    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=9), inner)),
                    max_leaves=6,
                ),
            },
        ),
        max_size=3,
    )
)
def test_labels_of_any_rows_are_read_or_refused(rows: list[dict[str, Any]]) -> None:
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows)):
        try:
            read_labels(text)
        except ValueError as refused:
            str(refused).encode()


@settings(suppress_health_check=_SLOW)
@given(data=st.data())
def test_evidence_with_any_bytes_replaced_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(pack_evidence(make_evidence(1, 4, 1, measure_only=True, second=False)))
    at = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(min_size=1, max_size=8))
    whole[at : at + len(piece)] = piece
    try:
        unpack_evidence(bytes(whole))
    except ValueError as refused:
        str(refused).encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("what", _FILES)
def test_bundle_that_is_hostile_is_refused_or_found_bad(what: str) -> None:
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        files = ZipFiles(io.BytesIO(_FILES[what]()))
    except ValueError as refused:
        str(refused).encode("utf-8", "backslashreplace")
    else:
        assert not check_bundle(files).ok
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before_bytes < _MOST_GROWN_BYTES


def _content(files: ZipFiles, name: str) -> bytes | None:
    try:
        return files[name]
    except ValueError:
        return None


def test_bundle_with_any_byte_changed_is_found_bad(tmp_path: Path) -> None:
    world = make_run(tmp_path, make_evidence(1, 4, 1, measure_only=True, second=False))
    path = tmp_path / "bundle.zip"
    bundle_of(world, path)
    whole = path.read_bytes()
    contents = dict(ZipFiles(io.BytesIO(whole)).items())
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), size=10):
        data = bytearray(whole)
        data[at] ^= 0x5A
        try:
            files = ZipFiles(io.BytesIO(bytes(data)))
        except ValueError:
            continue
        outcome = check_bundle(files)
        # What changed may be a time in the zip's own records, which no number rests on.
        same = all(name in files and _content(files, name) == content for name, content in contents.items())
        assert same or any(check.faults for check in outcome.checks), at
