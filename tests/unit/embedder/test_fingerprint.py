"""The same encoder has the same fingerprint; another one has another."""

import shutil
from pathlib import Path

import pytest

from services.common.errors import PreconditionError
from services.embedder.fingerprint import fingerprint_encoder

FILES = {
    "modules.json": '[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Normalize"}]',
    "config.json": "{}",
    "model.safetensors": "weights",
    "tokenizer.json": "{}",
    "README.md": "about",
    "1_Pooling/config.json": '{"pooling_mode": "mean"}',
    "onnx/model.bin": "other format",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    for name, text in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    return path


def test_fingerprint_copy_elsewhere_is_the_same(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "other-name"
    shutil.copytree(folder, copy)
    (copy / ".marker.json").write_text("{}", encoding="utf-8")
    assert fingerprint_encoder(copy, precision="float32") == fingerprint_encoder(folder, precision="float32")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"]
)
def test_fingerprint_file_that_decides_rows_changes_it(folder: Path, name: str) -> None:
    before = fingerprint_encoder(folder, precision="float32")
    text = (folder / name).read_text(encoding="utf-8")
    (folder / name).write_text(text + " ", encoding="utf-8")
    assert fingerprint_encoder(folder, precision="float32") != before


@pytest.mark.parametrize("name", ["README.md", "onnx/model.bin", "pytorch_model.bin", "data_config.json"])
def test_fingerprint_file_without_effect_leaves_it(folder: Path, name: str) -> None:
    before = fingerprint_encoder(folder, precision="float32")
    (folder / name).write_text("something else", encoding="utf-8")
    assert fingerprint_encoder(folder, precision="float32") == before


def test_fingerprint_precision_changes_it(folder: Path) -> None:
    assert fingerprint_encoder(folder, precision="float32") != fingerprint_encoder(
        folder, precision="bfloat16"
    )


def test_fingerprint_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(PreconditionError, match="holds no weights"):
        fingerprint_encoder(folder, precision="float32")
