"""Adapter folders as a stranger would make them to harm whoever loads them."""

import gzip
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from services.common.artifacts import sha256_bytes
from tests.fakes.adapter_folders import config, meta, tensors

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@dataclass(frozen=True, slots=True)
class Planted:
    """Where it lies, and the sha256 of its manifest."""

    uri: str
    sha256: str
    folder: Path


def good_files() -> dict[str, bytes]:
    """A right adapter."""
    return {WEIGHTS: save(tensors()), CONFIG: json.dumps(config()).encode()}


def plant(
    root: Path,
    files: Mapping[str, bytes],
    *,
    key: str = "adapters/evil",
    manifest: bytes | None = None,
    meta_changes: Mapping[str, Any] | None = None,
) -> Planted:
    """Write files as they are into a local store at ``root``, with a manifest that fits them."""
    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if manifest is None:
        digests = {name: sha256_bytes(data) for name, data in files.items()}
        manifest = json.dumps({"files": digests, "meta": meta() | dict(meta_changes or {})}).encode()
    (folder / "manifest.json").write_bytes(manifest)
    return Planted(folder.as_uri(), sha256_bytes(manifest), folder)


def raw_safetensors(header: bytes | Mapping[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file whose header says what it is told to."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def good_header() -> tuple[dict[str, Any], bytes]:
    """Header and bytes of the right weights."""
    data = save(tensors())
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


class _Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch /tmp/valign-unpickled",))


def _zip_bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"\0" * 50_000_000)
    return made.getvalue()


def _weights(change: Callable[[dict[str, Any]], None], **how: Any) -> dict[str, bytes]:
    header, data = good_header()
    change(header)
    return good_files() | {WEIGHTS: raw_safetensors(header, data, **how)}


def _entry(**changes: Any) -> dict[str, bytes]:
    return _weights(lambda header: header[Q_A].update(changes))


def _array(name: str, array: np.ndarray) -> dict[str, bytes]:
    return good_files() | {WEIGHTS: save(tensors() | {name: array})}


def _config(**changes: Any) -> dict[str, bytes]:
    return good_files() | {CONFIG: json.dumps(config(**changes)).encode()}


def _duplicate_key() -> dict[str, bytes]:
    header, data = good_header()
    entry = json.dumps(header[Q_A])
    text = json.dumps(header)[:-1] + f", {json.dumps(Q_A)}: {entry}}}"
    return good_files() | {WEIGHTS: raw_safetensors(text.encode(), data)}


def _overlap(header: dict[str, Any]) -> None:
    names = [name for name in header if name != "__metadata__"]
    header[names[1]]["data_offsets"] = header[names[0]]["data_offsets"]


def _rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header[new] = header.pop(old)

    return change


FOLDERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "zip bomb": lambda: good_files() | {WEIGHTS: _zip_bomb()},
    "gzip bomb": lambda: good_files() | {WEIGHTS: gzip.compress(b"\0" * 50_000_000)},
    "pickle as .bin": lambda: {CONFIG: good_files()[CONFIG], "adapter_model.bin": pickle.dumps(_Boom())},
    "pickle as .pt beside": lambda: good_files() | {"optimizer.pt": pickle.dumps(_Boom())},
    "pickle inside safetensors": lambda: good_files() | {WEIGHTS: pickle.dumps(_Boom()) * 50},
    "pickle behind the tensors": lambda: good_files() | {WEIGHTS: save(tensors()) + pickle.dumps(_Boom())},
    "code beside": lambda: good_files() | {"modeling.py": b"raise SystemExit"},
    "other weights beside": lambda: good_files() | {"new_embeddings.safetensors": save(tensors())},
    "tokenizer with code": lambda: good_files() | {"tokenizer_config.json": b'{"auto_map": {}}'},
    "nan": lambda: _array(Q_A, np.full((4, 12), np.nan, np.float32)),
    "one nan at the end": lambda: _array(
        Q_A, np.append(np.zeros(47), np.nan).reshape(4, 12).astype(np.float32)
    ),
    "infinity": lambda: _array(Q_A, np.full((4, 12), -np.inf, np.float16)),
    "float64": lambda: _array(Q_A, np.zeros((4, 12), np.float64)),
    "int8": lambda: _array(Q_A, np.zeros((4, 12), np.int8)),
    "bool": lambda: _array(Q_A, np.zeros((4, 12), np.bool_)),
    "type unknown": lambda: _entry(dtype="F8_E4M3"),
    "type is a list": lambda: _entry(dtype=["F32"]),
    "rank a billion": lambda: _config(r=10**9),
    "rank of 4000 digits": lambda: (
        good_files() | {CONFIG: b'{"peft_type": "LORA", "r": ' + b"9" * 4000 + b"}"}
    ),
    "rank negative": lambda: _config(r=-4),
    "rank zero": lambda: _config(r=0),
    "rank a float": lambda: _config(r=4.0),
    "rank a bool": lambda: _config(r=True),
    "rank a text": lambda: _config(r="4"),
    "rank null": lambda: _config(r=None),
    "rank other than the tensors'": lambda: _config(r=8),
    "alpha huge": lambda: _config(lora_alpha=1e308),
    "alpha negative": lambda: _config(lora_alpha=-1),
    "alpha infinity": lambda: _config(lora_alpha=float("inf")),
    "alpha nan": lambda: _config(lora_alpha=float("nan")),
    "rank pattern": lambda: _config(rank_pattern={"q_proj": 10**9}),
    "modules to save": lambda: _config(modules_to_save=["lm_head"]),
    "target all-linear": lambda: _config(target_modules="all-linear"),
    "target a pattern that never ends": lambda: _config(target_modules="(a+)+$"),
    "targets are numbers": lambda: _config(target_modules=[1, 2]),
    "config a list": lambda: good_files() | {CONFIG: b"[]"},
    "config a text": lambda: good_files() | {CONFIG: b'"LORA"'},
    "config nested": lambda: good_files() | {CONFIG: b"[" * 100_000},
    "config huge": lambda: good_files() | {CONFIG: b'{"r": 4, "x": "' + b"y" * 3_000_000 + b'"}'},
    "config not utf-8": lambda: good_files() | {CONFIG: b'{"r": 4, "x": "\xff"}'},
    "config key twice": lambda: good_files() | {CONFIG: good_files()[CONFIG][:-1] + b', "r": 99999}'},
    "config surrogate": lambda: _config(peft_type="\ud800"),
    "header length 2**63": lambda: good_files() | {WEIGHTS: raw_safetensors(b"{}", b"", 2**63)},
    "header length 2**64-1": lambda: good_files() | {WEIGHTS: raw_safetensors(b"{}", b"", 2**64 - 1)},
    "header longer than the file": lambda: good_files() | {WEIGHTS: raw_safetensors(b"{}", b"", 3)},
    "header of 100 MB": lambda: good_files() | {WEIGHTS: raw_safetensors(b" " * 100_000_000 + b"{}")},
    "header of millions of lists": lambda: (
        good_files() | {WEIGHTS: raw_safetensors(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}")}
    ),
    "header nested": lambda: good_files() | {WEIGHTS: raw_safetensors(b'{"a":' * 100_000)},
    "header a list": lambda: good_files() | {WEIGHTS: raw_safetensors(b"[]")},
    "header key twice": _duplicate_key,
    "empty weights": lambda: good_files() | {WEIGHTS: b""},
    "entries not objects": lambda: good_files() | {WEIGHTS: raw_safetensors({Q_A: 3})},
    "entry with more keys": lambda: _entry(code="x"),
    "offsets overlap": lambda: _weights(_overlap),
    "offsets out of the file": lambda: _entry(data_offsets=[0, 10**15]),
    "offsets backwards": lambda: _entry(data_offsets=[192, 0]),
    "offsets negative": lambda: _entry(data_offsets=[-192, 0]),
    "offsets floats": lambda: _entry(data_offsets=[0.0, 192.0]),
    "offsets three": lambda: _entry(data_offsets=[0, 192, 384]),
    "offsets of 2**70": lambda: _entry(data_offsets=[0, 2**70]),
    "shape overflows 64 bits": lambda: _entry(shape=[2**33, 2**33]),
    "shape negative": lambda: _entry(shape=[-4, -12]),
    "shape of bools": lambda: _entry(shape=[True, True]),
    "shape of a million numbers": lambda: _entry(shape=[1] * 100_000),
    "shape zero": lambda: _entry(shape=[0, 12]),
    "shape a text": lambda: _entry(shape="4x12"),
    "metadata not texts": lambda: _weights(lambda header: header.update(__metadata__={"a": {"b": 1}})),
    "missing tensor": lambda: (
        good_files() | {WEIGHTS: save({name: one for name, one in tensors().items() if name != Q_A})}
    ),
    "layer that is not there": lambda: (
        good_files()
        | {WEIGHTS: save({name.replace("layers.0", "layers.7"): one for name, one in tensors().items()})}
    ),
    "module of another name": lambda: _weights(_rename(Q_A, Q_A.replace("q_proj", "mlp.up_proj"))),
    "tensor name a path": lambda: _weights(_rename(Q_A, "../../etc/passwd")),
    "tensor name with NUL": lambda: _weights(_rename(Q_A, Q_A + "\0")),
    "tensor name a surrogate": lambda: _weights(_rename(Q_A, "\udfff")),
    "tensor name of a megabyte": lambda: _weights(_rename(Q_A, "x" * 1_000_000)),
    "tensor name right-to-left": lambda: _weights(_rename(Q_A, "\u202eweights")),
}
"""Files whose manifest fits them: only what is in them is wrong."""

METAS: dict[str, dict[str, Any]] = {
    "canary number overflows": {"canaries": [{**meta()["canaries"][0], "logprob_base": 10**400}]},
    "canary infinite": {"canaries": [{**meta()["canaries"][0], "logprob_adapter": 1e999}]},
    "canary tokens infinite": {"canaries": [{**meta()["canaries"][0], "tokens": 1e999}]},
    "canary tokens negative": {"canaries": [{**meta()["canaries"][0], "tokens": -1}]},
    "canary surrogate": {"canaries": [{**meta()["canaries"][0], "continuation": "\ud800"}]},
    "canaries a number": {"canaries": 3},
    "canaries a text": {"canaries": "abc"},
    "canaries a thousand": {"canaries": meta()["canaries"] * 1000},
    "messages a number": {"canaries": [{**meta()["canaries"][0], "messages": 3}]},
    "role unknown": {"canaries": [{**meta()["canaries"][0], "messages": [{"role": "tool", "content": ""}]}]},
    "rank infinite": {"rank": 1e999},
    "rank a list": {"rank": [4]},
    "format huge": {"format": "x" * 1_000_000},
    "base model huge": {"base_fingerprint": "0" * 64, "base_model": "\u202e" * 500_000},
}
"""Metadata of the manifest, whose files are right."""


def _files(**names: str) -> bytes:
    return json.dumps({"files": names, "meta": meta()}).encode()


_SHA = "0" * 64
MANIFESTS: dict[str, Callable[[], bytes]] = {
    "name with ..": lambda: _files(**{"../../secret": _SHA}),
    "name absolute": lambda: _files(**{"/etc/passwd": _SHA}),
    "name with NUL": lambda: _files(**{"a\0b": _SHA}),
    "name a surrogate": lambda: _files(**{"\ud800": _SHA}),
    "name with a division slash": lambda: _files(**{"a\u2215..\u2215b": _SHA}),
    "name full-width dots": lambda: _files(**{"\uff0e\uff0e/a": _SHA}),
    "name with a backslash": lambda: _files(**{"..\\a": _SHA}),
    "name with a newline": lambda: _files(**{"a\n": _SHA}),
    "name hidden": lambda: _files(**{".ssh/authorized_keys": _SHA}),
    "name of a megabyte": lambda: _files(**{"a" * 1_000_000: _SHA}),
    "name with a part too long": lambda: _files(**{"a" * 300: _SHA}),
    "itself": lambda: _files(**{"manifest.json": _SHA}),
    "a file that is a folder too": lambda: _files(**{"a": _SHA, "a/b": _SHA}),
    "a million files": lambda: _files(**{f"f{number}": _SHA for number in range(1_000_000)}),
    "forty thousand files": lambda: _files(**{f"f{number}": _SHA for number in range(40_000)}),
    "a key twice": lambda: b'{"files": {}, "files": {"a": "' + _SHA.encode() + b'"}, "meta": {}}',
    "nested": lambda: b"[" * 1_000_000,
    "millions of lists": lambda: b'{"files": {}, "meta": {"a": [' + b"[]," * 1_300_000 + b"[]]}}",
    "no hashes": lambda: _files(a="latest"),
}
"""Manifests with the sha256 that was asked for."""
