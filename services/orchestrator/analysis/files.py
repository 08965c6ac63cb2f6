"""An Evidence as files, and as one zip of them.

``evidence.json`` (format, topics, split, arms, encoders), ``study.json``, ``outputs.jsonl``, ``probes.json``,
``facts.json``, and for each encoder ``vectors/<name>.jsonl`` (text, its sha256 and its row's, a line a
row) and ``vectors/<name>.npy`` (float32 rows). Entries of the zip are not compressed and bear a fixed date,
so that equal evidence gives equal bytes on every machine.

What is read may come from a stranger: nothing is unpickled, no path is followed, and every fault is a
ValueError that names the entry.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from services.orchestrator.analysis.archives import (
    MAX_BYTES,
    dump_json,
    dump_jsonl,
    read_json,
    read_jsonl,
    read_stored_zip,
    write_zip,
)
from services.orchestrator.analysis.evidence import Arm, Evidence, Output, Vectors, text_sha256

FORMAT: Final = "valign-evidence"
FORMAT_VERSION: Final = 1
# numpy gives its format functions no types.
_npy_format: Any = np.lib.format
_VECTORS_NAME = re.compile(r"[a-z0-9_]{1,64}")
_FIXED = ("evidence.json", "facts.json", "outputs.jsonl", "probes.json", "study.json")
_HEAD_KEYS = {"format", "format_version", "topic_ids", "split", "arms", "vectors"}


def pack_evidence(evidence: Evidence) -> bytes:
    """The zip. ValueError for data that JSON cannot hold (NaN, a lone surrogate), naming the entry."""
    buffer = io.BytesIO()
    write_zip(buffer, evidence_files(evidence))
    return buffer.getvalue()


def unpack_evidence(data: bytes, max_bytes: int = MAX_BYTES) -> Evidence:
    """What ``pack_evidence`` gave. ValueError names the entry that is missing, unknown or malformed."""
    return evidence_from_files(read_stored_zip(io.BytesIO(data), max_bytes))


def evidence_sha256(evidence: Evidence) -> str:
    """Sha256 (hex) of ``pack_evidence``: the evidence's identity."""
    return hashlib.sha256(pack_evidence(evidence)).hexdigest()


def evidence_files(evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file, by name."""
    yield "evidence.json", dump_json("evidence.json", _head(evidence))
    yield "facts.json", dump_json("facts.json", evidence.facts)
    yield "outputs.jsonl", dump_jsonl("outputs.jsonl", (asdict(output) for output in evidence.outputs))
    yield "probes.json", dump_json("probes.json", evidence.probes)
    yield "study.json", dump_json("study.json", evidence.study)
    for name in sorted(evidence.vectors):
        entry, vectors = f"vectors/{name}", evidence.vectors[name]
        if not _VECTORS_NAME.fullmatch(name):
            raise ValueError(f"{entry}: a name of vectors has only a-z, 0-9 and _")
        yield f"{entry}.jsonl", dump_jsonl(f"{entry}.jsonl", _text_rows(vectors))
        yield f"{entry}.npy", _npy(f"{entry}.npy", vectors.rows)


def evidence_from_files(files: Mapping[str, bytes]) -> Evidence:
    """The Evidence of these files, by name. ValueError names the file at fault."""
    for name in _FIXED:
        if name not in files:
            raise ValueError(f"{name}: missing")
    head = read_json("evidence.json", files["evidence.json"])
    if head.get("format") != FORMAT or head.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"evidence.json: format {head.get('format')!r} version {head.get('format_version')!r};"
            f" this version of valign reads {FORMAT!r} version {FORMAT_VERSION}"
        )
    if set(head) != _HEAD_KEYS:
        raise ValueError(f"evidence.json: its keys are {sorted(head)}, expected {sorted(_HEAD_KEYS)}")
    encoders = _of_type("evidence.json", "vectors", head["vectors"], dict[str, dict[str, str]])
    unknown = set(files) - {
        *_FIXED,
        *(f"vectors/{name}.{end}" for name in encoders for end in ("jsonl", "npy")),
    }
    if unknown:
        raise ValueError(f"{min(unknown)}: no such file belongs to an evidence")
    return Evidence(
        study=read_json("study.json", files["study.json"]),
        topic_ids=_of_type("evidence.json", "topic_ids", head["topic_ids"], tuple[str, ...]),
        split=_of_type("evidence.json", "split", head["split"], dict[str, dict[str, tuple[int, ...]]]),
        arms=tuple(
            _record("evidence.json", Arm, row) for row in _list("evidence.json", "arms", head["arms"])
        ),
        outputs=tuple(
            _record(f"outputs.jsonl line {number}", Output, row)
            for number, row in read_jsonl("outputs.jsonl", files["outputs.jsonl"])
        ),
        vectors={name: _vectors(name, encoder, files) for name, encoder in encoders.items()},
        probes=read_json("probes.json", files["probes.json"]),
        facts=read_json("facts.json", files["facts.json"]),
    )


def row_sha256(row: NDArray[np.float32]) -> str:
    """Sha256 (hex) of an embedding: its little-endian float32 bytes."""
    return hashlib.sha256(np.ascontiguousarray(row, dtype="<f4").tobytes()).hexdigest()


def _head(evidence: Evidence) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "topic_ids": list(evidence.topic_ids),
        "split": {
            part: {topic: list(members) for topic, members in topics.items()}
            for part, topics in evidence.split.items()
        },
        "arms": [asdict(arm) for arm in evidence.arms],
        "vectors": {
            name: {"encoder": vectors.encoder, "fingerprint": vectors.fingerprint}
            for name, vectors in evidence.vectors.items()
        },
    }


def _text_rows(vectors: Vectors) -> Iterator[dict[str, str]]:
    for text, row in zip(vectors.texts, vectors.rows, strict=True):
        yield {"sha256": text_sha256(text), "row_sha256": row_sha256(row), "text": text}


def _npy(name: str, rows: NDArray[np.float32]) -> bytes:
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise ValueError(
            f"{name}: rows of shape (n, dimension) in float32 expected, not {rows.dtype} {rows.shape}"
        )
    buffer = io.BytesIO()
    _npy_format.write_array(
        buffer, np.ascontiguousarray(rows, dtype="<f4"), version=(1, 0), allow_pickle=False
    )
    return buffer.getvalue()


def read_rows(name: str, data: bytes) -> NDArray[np.float32]:
    """The float32 rows of an npy file, shape (n, dimension). The header is checked against the length before
    anything is made of it; ValueError names the file."""
    buffer = io.BytesIO(data)
    try:
        version = _npy_format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError(f"npy version {version}")
        shape, fortran, dtype = _npy_format.read_array_header_1_0(buffer)
    except (ValueError, SyntaxError, TypeError, RecursionError) as error:
        raise ValueError(f"{name}: no npy file: {error}") from error
    start = buffer.tell()
    if dtype != np.dtype("<f4") or fortran or len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"{name}: float32 rows of shape (n, dimension) expected, not {dtype} {shape}")
    if shape[0] * shape[1] * 4 != len(data) - start:
        raise ValueError(f"{name}: {len(data) - start} bytes of data, its header says {shape}")
    return np.frombuffer(data, dtype="<f4", offset=start).reshape(shape)


def _vectors(name: str, encoder: Mapping[str, str], files: Mapping[str, bytes]) -> Vectors:
    if not _VECTORS_NAME.fullmatch(name):
        raise ValueError(f"evidence.json: {name!r} is no name of vectors")
    if set(encoder) != {"encoder", "fingerprint"}:
        raise ValueError(
            f"evidence.json: vectors.{name} names {sorted(encoder)}, expected encoder and fingerprint"
        )
    for entry in (f"vectors/{name}.jsonl", f"vectors/{name}.npy"):
        if entry not in files:
            raise ValueError(f"{entry}: missing")
    entry, rows = f"vectors/{name}.jsonl", read_rows(f"vectors/{name}.npy", files[f"vectors/{name}.npy"])
    lines = list(read_jsonl(entry, files[entry]))
    if len(lines) != len(rows):
        raise ValueError(f"{entry}: {len(lines)} texts for {len(rows)} rows")
    texts = []
    for (number, line), row in zip(lines, rows, strict=True):
        text = line.get("text")
        if set(line) != {"sha256", "row_sha256", "text"} or not isinstance(text, str):
            raise ValueError(
                f"{entry} line {number}: sha256, row_sha256 and text expected, not {sorted(line)}"
            )
        if line["sha256"] != _text_sha256(entry, number, text):
            raise ValueError(
                f"{entry} line {number}: the text's sha256 is not {line['sha256']}: the text was changed"
            )
        if line["row_sha256"] != row_sha256(row):
            raise ValueError(
                f"{entry} line {number}: the row's sha256 is not {line['row_sha256']}: the row was changed"
            )
        texts.append(text)
    try:
        return Vectors(texts, rows, encoder["encoder"], encoder["fingerprint"])
    except ValueError as error:
        raise ValueError(f"{entry}: {error}") from error


def _text_sha256(entry: str, number: int, text: str) -> str:
    try:
        return text_sha256(text)
    except ValueError as error:  # a lone surrogate, which JSON can escape
        raise ValueError(f"{entry} line {number}: {error}") from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _of_type(name: str, key: str, value: Any, kind: Any) -> Any:
    try:
        # JSON knows no tuples, so the check runs in JSON's terms; strict: "3" is no 3.
        return _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ValueError(f"{name}: {key}: {error.errors()[0]['msg']}") from error


def _list(name: str, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: {key} is no list")
    return value


def _record(name: str, kind: Any, row: Any) -> Any:
    unknown = set(row) - {field.name for field in fields(kind)} if isinstance(row, dict) else {"(no object)"}
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(sorted(unknown))}")
    return _of_type(name, kind.__name__, row, kind)
