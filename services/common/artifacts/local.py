"""Artifacts in a local folder: a write that has returned is on the disk, whole.

A file is written beside its place, synced, renamed, and its folder is synced. Nothing is read through a link,
and nothing but a plain file is read: a store that others can write to may hold both.
"""

import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from services.common.errors import InvalidInputError

INCOMPLETE = ".incomplete"
"""Lies in a folder while it is being written; no artifact can have this name."""

PART = re.compile(r".*\.part-[0-9a-f]{32}")
_CHUNK_BYTES = 1024 * 1024
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe must not wait for its other end.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalFiles:
    """Files below one folder, by relative names that have been checked. Raises what the system raises."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> IO[bytes]:
        """A plain file. InvalidInputError for a link on the way, or anything that is no plain file."""
        *folders, last = name.split("/")
        held = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                self._refuse_link(folder, held, name)
                inner = os.open(folder, _FOLDER_FLAGS, dir_fd=held)
                os.close(held)
                held = inner
            self._refuse_link(last, held, name)
            found = os.open(last, _FILE_FLAGS, dir_fd=held)
        finally:
            os.close(held)
        mode = os.fstat(found).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(found, "rb")
        os.close(found)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{name} is a folder")
        raise InvalidInputError(f"{self._root / name} is no plain file; artifacts are plain files")

    def size(self, name: str) -> int:
        """Bytes of a plain file."""
        with self.open(name) as file:
            return os.fstat(file.fileno()).st_size

    def write(self, name: str, source: bytes | Path) -> None:
        """Put a file in place, in one step and for good."""
        target = self._root / name
        self._make_folders(target.parent)
        part = target.parent / f".part-{uuid.uuid4().hex}"
        try:
            with part.open("xb") as file:
                if isinstance(source, bytes):
                    file.write(source)
                else:
                    with source.open("rb") as given:
                        shutil.copyfileobj(given, file, _CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync(target.parent)

    def exists(self, name: str) -> bool:
        """True if there is a file or folder (or a link: it is in the way)."""
        return os.path.lexists(self._root / name)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with what is in it; links are removed, not followed."""
        path = self._root / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        _sync(path.parent)

    def leftovers(self, older_than_s: float) -> Iterator[str]:
        """Relative names of temporary files and of marks of incomplete folders, of that age."""
        limit = time.time() - older_than_s
        for folder, _, files in os.walk(self._root):
            for name in files:
                path = Path(folder) / name
                if name != INCOMPLETE and not PART.fullmatch(name):
                    continue
                try:
                    old = path.lstat().st_mtime < limit
                except FileNotFoundError:
                    continue  # its writer has just put it in place
                if old:
                    yield path.relative_to(self._root).as_posix()

    def forget_uploads(self, older_than_s: float) -> list[str]:
        """A disk has no uploads that are neither files nor gone."""
        return []

    def uri(self, name: str) -> str:
        """``file://`` URI, as fsspec writes it: nothing is percent-encoded."""
        return f"file://{self._root / name}"

    def _refuse_link(self, part: str, held: int, name: str) -> None:
        if stat.S_ISLNK(os.stat(part, dir_fd=held, follow_symlinks=False).st_mode):
            raise InvalidInputError(f"{self._root / name}: {part} is a link; artifacts are plain files")

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            if not folder.resolve().is_relative_to(self._root.resolve()):
                raise InvalidInputError(f"{folder} is behind a link that leaves the artifact store")
            return
        if folder != self._root:
            self._make_folders(folder.parent)
        folder.mkdir(parents=folder == self._root, exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """What was renamed or made in a folder survives a power cut from here on."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(held)
    finally:
        os.close(held)
