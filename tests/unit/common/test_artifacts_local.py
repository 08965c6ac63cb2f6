"""A write that has returned is on the disk: what is synced, and in which order."""

import os
import stat
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import NotReadyError


def _watch(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    done: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(held: int) -> None:
        path = Path(f"/proc/self/fd/{held}").readlink()
        kind = "folder" if stat.S_ISDIR(os.fstat(held).st_mode) else "file"
        name = path.relative_to(root).as_posix() if path != root.parent else ".."
        done.append(f"sync {kind} {'PART' if '.part-' in name else name}")
        real_sync(held)

    def replace(self: Path, target: Path) -> Path:
        done.append(f"rename to {Path(target).relative_to(root).as_posix()}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return done


def test_put_bytes_syncs_file_then_renames_then_syncs_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    done = _watch(monkeypatch, root)
    store = ArtifactStore(str(root))
    store.put_bytes("runs/r-1/x", b"1")
    assert done == [
        "sync folder ..",
        "sync folder .",
        "sync folder runs",
        "sync file PART",
        "rename to runs/r-1/x",
        "sync folder runs/r-1",
    ]


def test_put_folder_names_its_manifest_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, source = tmp_path / "store", tmp_path / "source"
    source.mkdir()
    for name in ("z.txt", "a.txt"):
        (source / name).write_text(name)
    done = _watch(monkeypatch, root)
    ArtifactStore(str(root)).put_folder("a", source, {})
    renames = [step.rpartition("/")[2] for step in done if step.startswith("rename")]
    assert renames == [".incomplete", "a.txt", "z.txt", "manifest.json"]
    assert done[-1] == "sync folder a"


def test_put_on_a_disk_that_cannot_sync_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    store.put_bytes("d/there", b"1")

    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NotReadyError, match="Input/output error; try again"):
        store.put_bytes("d/x", b"1")
    assert [path.name for path in (tmp_path / "store" / "d").iterdir()] == ["there"]
