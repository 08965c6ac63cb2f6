"""One model, one folder, one fingerprint, whoever asks."""

from pathlib import Path
from typing import Any

import pytest

from services.common.artifacts import fingerprint_folder
from services.common.base_model import fingerprint_base_model, resolve_base_model
from services.common.errors import NotFoundError


class Hub:
    """A hub with one model; ``files`` are copied into the cache when a pattern asks for them."""

    def __init__(self, cache: Path, files: dict[str, bytes]) -> None:
        self.cache = cache
        self.files = files
        self.revisions: list[str | None] = []

    def snapshot_download(self, model: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.revisions.append(revision)
        self.cache.mkdir(exist_ok=True)
        for name, data in self.files.items():
            if any(Path(name).match(pattern) for pattern in allow_patterns):
                (self.cache / name).write_bytes(data)
        return str(self.cache)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**files: bytes) -> Hub:
        named = {name.replace("__", "."): data for name, data in files.items()}
        hub = Hub(tmp_path / "cache", named)
        monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
        return hub

    return make


def test_resolve_hub_model_with_both_formats_fetches_safetensors_alone(hub: Any) -> None:
    made = hub(config__json=b"{}", model__safetensors=b"s", pytorch_model__bin=b"b", model__h5=b"h")
    folder = resolve_base_model("owner/model", "main")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert made.revisions == ["main"]


def test_resolve_hub_model_without_safetensors_fetches_bin(hub: Any) -> None:
    made = hub(config__json=b"{}", pytorch_model__bin=b"b")
    folder = resolve_base_model("owner/model", "")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "pytorch_model.bin"]
    assert set(made.revisions) == {None}


def test_resolve_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve_base_model(str(tmp_path), None) == tmp_path.resolve()


def test_resolve_nothing_anywhere_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFoundError, match="neither a folder"):
        resolve_base_model("nobody/no-such-model", None)


def test_fingerprint_ignores_weights_that_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes(b"s")
    alone = fingerprint_base_model(tmp_path)
    assert alone == fingerprint_folder(tmp_path, ("config.json", "*.safetensors"))
    (tmp_path / "pytorch_model.bin").write_bytes(b"b")
    (tmp_path / "README.md").write_bytes(b"r")
    assert fingerprint_base_model(tmp_path) == alone
    (tmp_path / "model.safetensors").write_bytes(b"t")
    assert fingerprint_base_model(tmp_path) != alone


def test_fingerprint_of_bin_weights_covers_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"b")
    before = fingerprint_base_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"c")
    assert fingerprint_base_model(tmp_path) != before
