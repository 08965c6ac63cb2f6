"""Each bad adapter is refused before the engine sees it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import PreconditionError
from services.generator.adapter_files import check_adapter, read_header
from services.generator.types import AdapterMeta
from tests.fakes.adapter_folders import tensors, write_adapter
from tests.fakes.fake_engine import INFO

Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


def check(tmp_path: Path, **how: Any) -> AdapterMeta:
    store = ArtifactStore(str(tmp_path / "store"))
    artifact = write_adapter(store, tmp_path / "made", "adapters/a", **how)
    folder = tmp_path / "fetched"
    manifest = store.fetch_folder(artifact.uri, artifact.sha256, folder)
    return check_adapter("a", folder, manifest.files, manifest.meta, INFO)


def test_check_adapter_good_returns_meta(tmp_path: Path) -> None:
    meta = check(tmp_path)
    assert meta.rank == 4
    assert meta.canaries[0].continuation == "be kind and just"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"rank": 32}, "rank 32, the engine takes at most 16"),
        ({"meta_changes": {"base_fingerprint": "0" * 64}}, "another base model"),
        ({"meta_changes": {"format": "pickle"}}, "manifest format"),
        ({"meta_changes": {"canaries": []}}, "0 canaries"),
        ({"meta_changes": {"canaries": [{"messages": []}]}}, "incomplete"),
        ({"meta_changes": {"rank": 8}}, "manifest says rank 8"),
        ({"without": "adapter_model.safetensors"}, "has no adapter_model.safetensors"),
        (
            {"without": "adapter_model.safetensors", "extra_files": {"adapter_model.bin": b"\x80"}},
            "pickled weights are refused",
        ),
        ({"extra_files": {"optimizer.pt": b"x"}}, "holds optimizer.pt"),
        ({"config_changes": {"bias": "all"}}, "biases"),
        ({"config_changes": {"use_dora": True}}, "use_dora"),
        ({"config_changes": {"modules_to_save": ["lm_head"]}}, "modules_to_save"),
        ({"config_changes": {"peft_type": "IA3"}}, "only plain LoRA"),
        ({"config_changes": {"target_modules": ["q_proj", "up_proj"]}}, "changes up_proj"),
        ({"config_changes": {"target_modules": "all-linear"}}, "must be a list"),
        ({"config_changes": {"r": -1}}, "no positive number"),
    ],
)
def test_check_adapter_bad_refused(tmp_path: Path, how: dict[str, Any], says: str) -> None:
    with pytest.raises(PreconditionError, match=says):
        check(tmp_path, **how)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (Q_A, np.zeros((4, 99), np.float32), "the base model needs"),
        (Q_B, np.zeros((99, 4), np.float32), "the base model needs"),
        (Q_A, np.zeros((5, 12), np.float32), "does not fit rank 4"),
        (Q_A, np.full((4, 12), np.nan, np.float32), "NaN or infinity"),
        (Q_A, np.full((4, 12), np.inf, np.float16), "NaN or infinity"),
        (Q_A, np.zeros((4, 12), np.float64), "of type F64"),
        ("base_model.model.lm_head.weight", np.zeros((4, 12), np.float32), "none of the target modules"),
        ("base_model.model.x.up_proj.lora_A.weight", np.zeros((4, 12), np.float32), "none of the target"),
        ("base_model.model.x.q_proj.lora_A.weight", np.zeros((4, 12), np.float32), "has only lora_A"),
    ],
)
def test_check_adapter_bad_tensor_refused(tmp_path: Path, name: str, value: np.ndarray, says: str) -> None:
    with pytest.raises(PreconditionError, match=says):
        check(tmp_path, weights=tensors() | {name: value})


def test_check_adapter_no_tensors_refused(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="no tensors"):
        check(tmp_path, weights={})


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\0\0\0\0{{{{{"])
def test_read_header_garbage_is_value_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError):
        read_header(path)


def test_check_adapter_bytes_beyond_file_refused(tmp_path: Path) -> None:
    header = json.dumps({Q_A: {"dtype": "F32", "shape": [4, 12], "data_offsets": [0, 192]}}).encode()
    data = len(header).to_bytes(8, "little") + header + b"\0" * 8
    with pytest.raises(PreconditionError, match="do not fit its shape"):
        check(tmp_path, extra_files={"adapter_model.safetensors": data})
