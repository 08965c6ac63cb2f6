"""Copies of files that others write to and delete meanwhile, onto disks that say no."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import NotReadyError, OverloadedError, PreconditionError, ValignError
from services.orchestrator.maintenance.copying import copy_database, copy_inside, telling


def _folder(path: Path) -> Path:
    for name in ("a/1", "a/2", "b/c/3", "z"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    (path / "link").symlink_to("z")
    return path


def _names(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir())


def _deleting(monkeypatch: pytest.MonkeyPatch, *gone: Path) -> None:
    """What is named goes when the first file is copied: after it was listed."""
    copy = shutil.copy2

    def copy2(source: Path, target: Path, **options: Any) -> None:
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        copy(source, target, **options)

    monkeypatch.setattr(shutil, "copy2", copy2)


def test_copy_inside_keeps_links_modes_and_times(tmp_path: Path) -> None:
    source = _folder(tmp_path / "source")
    (source / "a").chmod(0o750)
    os.utime(source / "a", (1, 1))
    os.utime(source / "a/1", (2, 2))
    copy_inside(source, tmp_path / "copy", left_out=lambda name: name == "c")
    copy = tmp_path / "copy"
    assert _names(copy) == ["a/1", "a/2", "link", "z"]
    assert (copy / "link").readlink() == Path("z")
    assert ((copy / "a").stat().st_mode & 0o777, (copy / "a").stat().st_mtime) == (0o750, 1)
    assert (copy / "a/1").stat().st_mtime == 2


def test_copy_inside_passes_over_files_and_folders_that_go_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _folder(tmp_path / "source")
    _deleting(monkeypatch, source / "a/1", source / "b", source / "link")
    copy_inside(source, tmp_path / "copy", may_go=True)
    assert _names(tmp_path / "copy") == ["a/2", "z"]


def test_copy_inside_of_what_must_stay_says_what_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _folder(tmp_path / "source")
    _deleting(monkeypatch, source / "a/1")
    with pytest.raises(NotReadyError, match=r"source/a/1 cannot be copied to .*copy/a/1: No such file"):
        copy_inside(source, tmp_path / "copy")


@pytest.mark.parametrize("gone", ["source", "copy"])
def test_copy_inside_whose_source_or_target_goes_is_no_copy(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _folder(tmp_path / "source")
    _deleting(monkeypatch, tmp_path / gone)
    with pytest.raises(NotReadyError, match=r"cannot be copied to .*copy.*: No such file"):
        copy_inside(source, tmp_path / "copy", may_go=True)


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.ENOSPC, OverloadedError, "No space left on device; free some space"),
        (errno.EDQUOT, OverloadedError, "free some space"),
        (errno.EACCES, PreconditionError, "Permission denied; do this as a user who may"),
        (errno.EROFS, PreconditionError, "do this as a user who may"),
        (errno.EIO, NotReadyError, "look at these two paths"),
    ],
)
def test_copy_inside_onto_a_disk_that_says_no_names_both_paths_and_a_remedy(
    number: int, kind: type[ValignError], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _folder(tmp_path / "source")

    def copy2(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "copy2", copy2)
    with pytest.raises(kind, match=rf"source/a/1 cannot be copied to .*copy/a/1: .*{remedy}"):
        copy_inside(source, tmp_path / "copy", may_go=True)


def test_copy_database_that_is_none_or_has_no_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"no database" * 1000)
    with pytest.raises(PreconditionError, match=r"no\.db cannot be copied .*from an older backup"):
        copy_database(tmp_path / "no.db", tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "one.db") as one:
        one.execute("CREATE TABLE t (x)")
    one.close()
    with pytest.raises(PreconditionError, match=r"one\.db cannot be copied .*as a user who may"):
        copy_database(tmp_path / "one.db", tmp_path / "nowhere" / "copy.db")


def test_telling_of_a_full_disk_by_sqlite_is_as_of_any_other() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    told = r"a cannot be copied to b: .*full; free some space"
    with pytest.raises(OverloadedError, match=told), telling(Path("a"), Path("b")):
        raise error
