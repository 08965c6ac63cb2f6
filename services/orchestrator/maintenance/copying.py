"""Copies of SQLite files and of folders; what goes wrong is told with the path and what to do.

A folder may be copied while others write to it. A file that was there when the folder was listed may be gone
when its turn comes, and with ``may_go`` that is no error. The copy is as good as one taken a moment later,
when the file was not listed at all: nothing that is in use is deleted. What goes from the artifact store
is what a killed writer left, of which nothing speaks, and the files of pruned adapters, which are marked in
the database before. So the copy of a database that is older than that mark may speak of an adapter whose
files are not in the copy, or only in part: ``check`` calls it missing after the restore, as it does with
whatever else somebody took out of the store, and the next pruning marks it again.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from services.common.errors import NotReadyError, OverloadedError, PreconditionError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_SQLITE_FORBIDDEN = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_AUTH,
}
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def telling(source: Path, target: Path) -> Iterator[None]:
    """An error of the disk or of SQLite becomes one of ours that names both paths.

    Raises:
        OverloadedError: no space is left.
        PreconditionError: there is no right to read the one or write the other, or a database is damaged.
        NotReadyError: anything else that a disk may say.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        what = f"{source} cannot be copied to {target}: {getattr(error, 'strerror', None) or error}"
        number, code = getattr(error, "errno", None), getattr(error, "sqlite_errorcode", 0) & 0xFF
        if number in _FULL or code == sqlite3.SQLITE_FULL:
            raise OverloadedError(f"{what}; free some space there, or name a folder with more") from error
        if number in _FORBIDDEN or code in _SQLITE_FORBIDDEN:
            raise PreconditionError(
                f"{what}; do this as a user who may read the first and write the second"
            ) from error
        if code in _SQLITE_DAMAGED:
            raise PreconditionError(f"{what}; put the database back from an older backup") from error
        raise NotReadyError(f"{what}; look at these two paths, then try again") from error


def copy_database(source: Path, target: Path) -> None:
    """SQLite's own online backup: a consistent copy, whoever writes meanwhile. Errors: see ``telling``."""
    with (
        telling(source, target),
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as one,
        closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)


def copy_inside(
    source: Path,
    target: Path,
    *,
    may_go: bool = False,
    left_out: Callable[[str], bool] = lambda name: False,
) -> None:
    """Copy what is in a folder, links as links, into one that is there or is made. Errors: see ``telling``.

    The target's own times and mode stay: it may be a volume's root, and those are root's. ``left_out`` is
    asked about the names at every depth. The source itself must stay, whatever ``may_go`` says: if it went,
    so did all that is in it, and the copy would be of nothing.
    """
    with telling(source, target):
        target.mkdir(parents=True, exist_ok=True)
        inside = sorted(source.iterdir())
    for one in inside:
        if not left_out(one.name):
            _copy(one, target / one.name, may_go, left_out)
    with telling(source, target):
        source.stat()


def _copy(source: Path, target: Path, may_go: bool, left_out: Callable[[str], bool]) -> None:
    folder = source.is_dir() and not source.is_symlink()
    with telling(source, target), _gone(source, may_go):
        if not folder:
            shutil.copy2(source, target, follow_symlinks=False)
            return
        inside = sorted(source.iterdir())
        target.mkdir()
        for one in inside:
            if not left_out(one.name):
                _copy(one, target / one.name, may_go, left_out)
        shutil.copystat(source, target)


@contextmanager
def _gone(source: Path, may_go: bool) -> Iterator[None]:
    """Passes over what is gone; a target that is gone is another matter."""
    try:
        yield
    except FileNotFoundError:
        if not may_go or os.path.lexists(source):
            raise
