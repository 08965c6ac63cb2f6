"""The store of artifacts: what is written appears whole or not at all, what is read is checked.

Paths cannot leave the store: an adapter or data set may come from a stranger.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from services.common.artifact_root import local_folder
from services.common.artifacts.failures import reading, writing
from services.common.artifacts.local import INCOMPLETE, LocalFiles
from services.common.artifacts.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest
from services.common.artifacts.names import check_name, is_safe, sha256_bytes, sha256_file
from services.common.artifacts.remote import RemoteFiles
from services.common.errors import InvalidInputError, NotFoundError, PreconditionError

_CHUNK_BYTES = 1024 * 1024
_PRIVATE = 0o400


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something in the store. For a folder, ``sha256`` is that of its manifest."""

    uri: str
    sha256: str
    size_bytes: int


class _Files(Protocol):
    """Where the bytes lie: see ``LocalFiles`` and ``RemoteFiles``."""

    def open(self, name: str) -> IO[bytes]: ...
    def size(self, name: str) -> int: ...
    def write(self, name: str, source: bytes | Path) -> None: ...
    def exists(self, name: str) -> bool: ...
    def remove(self, name: str) -> None: ...
    def leftovers(self, older_than_s: float) -> Iterator[str]: ...
    def forget_uploads(self, older_than_s: float) -> list[str]: ...
    def uri(self, name: str) -> str: ...


class ArtifactStore:
    """A store below one root. Blocking; safe to share between threads and processes.

    Every method raises an error of the table and none of another kind (see ``failures``): OverloadedError for
    a full disk, NotReadyError for a store that does not answer, PreconditionError for one that refuses.

    Args:
        root_uri: a local path or an fsspec URI (``file:///data/artifacts``, ``s3://bucket/prefix``).
            InvalidInputError: it is half a URI (``file:/data``).
    """

    def __init__(self, root_uri: str) -> None:
        root = local_folder(root_uri)
        self._files: _Files
        if root is not None:
            self._files = LocalFiles(root)
            self.root_uri = f"file://{root}"
        else:
            self._files = RemoteFiles(root_uri)
            self.root_uri = self._files.uri("").rstrip("/")

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        """Write one file in one step; an existing one with other content is replaced."""
        return self._put(check_name(key), data, sha256_bytes(data), len(data))

    def put_file(self, key: str, source: Path) -> Artifact:
        """Copy a local file into the store in one step; an existing one with other content is replaced."""
        with reading(str(source)):
            sha256, size_bytes = sha256_file(source), source.stat().st_size
        return self._put(check_name(key), source, sha256, size_bytes)

    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes:
        """Read one file; PreconditionError if its content is not that of ``sha256``.

        None only for what was written before hashes of it were kept.
        """
        name = self._inside(uri)
        with reading(uri), self._files.open(name) as file:
            data = file.read()
        return data if sha256 is None else _checked(uri, data, sha256)

    def read_parts(self, uri: str, sha256: str) -> Iterator[bytes]:
        """Read one file in parts of at most 1 MiB. The last comes only if all have the right sha256.

        NotFoundError before the first part if there is none; PreconditionError instead of the last part if
        the content is another.
        """
        name = self._inside(uri)
        digest = hashlib.sha256()
        with reading(uri):
            file = self._files.open(name)
        held = b""
        with closing(file):
            while True:
                with reading(uri):
                    part = file.read(_CHUNK_BYTES)
                if not part:
                    break
                digest.update(part)
                if held:
                    yield held
                held = part
        _check(uri, digest.hexdigest(), sha256)
        if held:
            yield held

    def check(self, uri: str, sha256: str) -> None:
        """PreconditionError unless the file has that sha256; NotFoundError if there is none."""
        name = self._inside(uri)
        with reading(uri), self._files.open(name) as file:
            found = _digest(file)
        _check(uri, found, sha256)

    def put_folder(self, key: str, folder: Path, meta: Mapping[str, Any]) -> Artifact:
        """Write a folder's files, and its manifest last: the folder is there once its manifest is.

        ``{sha8}`` in the key becomes the first 8 digits of the manifest's sha256. A folder that is in place
        already with the same manifest is left alone; two that put the same one at once do no harm.
        """
        with reading(str(folder)):
            names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            digests = {check_name(name): sha256_file(folder / name) for name in names}
            sizes = {name: (folder / name).stat().st_size for name in names}
        manifest = Manifest(digests, meta)
        base = check_name(key.replace("{sha8}", manifest.sha256[:8]))
        artifact = Artifact(self.uri(base), manifest.sha256, sum(sizes.values()))
        marker, place = f"{base}/{INCOMPLETE}", f"{base}/{MANIFEST_NAME}"
        with reading(artifact.uri):
            there = self._files.exists(place)
        if there:
            self.get_bytes(self._files.uri(place), manifest.sha256)
            return artifact
        with writing(artifact.uri):
            self._files.write(marker, b"")
        for name in names:
            self._put(f"{base}/{name}", folder / name, digests[name], sizes[name])
        raw = manifest.to_bytes()
        self._put(place, raw, manifest.sha256, len(raw))
        with writing(artifact.uri):
            self._files.remove(marker)
        return artifact

    def fetch_folder(self, uri: str, sha256: str, dest: Path, *, max_bytes: int = 8 * 1024**3) -> Manifest:
        """Copy a folder to ``dest``, checked, and in place only when it is whole.

        Only files that the manifest names are copied, into files that only this user can read and none should
        write. A ``dest`` that exists is taken as fetched before and is checked again.

        Raises:
            NotFoundError: no folder, no manifest, or a file of it is missing.
            PreconditionError: the manifest or a file has another sha256.
            InvalidInputError: the URI leaves the store, a file is a link or no plain file, or the folder is
                larger than ``max_bytes``.
        """
        base = self._inside(uri)
        raw = self._manifest(base, sha256)
        manifest = Manifest.from_bytes(raw)
        total_bytes = 0
        for name in manifest.files:
            total_bytes += self._size(f"{base}/{name}")
            if total_bytes > max_bytes:
                raise InvalidInputError(f"{uri} holds more than the limit of {max_bytes} bytes")
        with writing(str(dest)):
            if dest.exists():
                if all(
                    (dest / n).is_file() and sha256_file(dest / n) == d for n, d in manifest.files.items()
                ):
                    return manifest
                shutil.rmtree(dest)
            dest.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
                part = Path(temporary) / "folder"
                part.mkdir()
                (part / MANIFEST_NAME).write_bytes(raw)
                left = max_bytes
                for name, digest in manifest.files.items():
                    left -= self._copy(f"{base}/{name}", part / name, digest, left)
                part.rename(dest)
        return manifest

    def exists(self, uri: str) -> bool:
        """True if there is a file or folder at the URI."""
        name = self._inside(uri)
        with reading(uri):
            return self._files.exists(name)

    def delete(self, uri: str) -> None:
        """Remove a file or folder; one that is not there is no error."""
        name = self._inside(uri)
        with writing(uri):
            # A folder without its manifest is none, whatever happens next.
            self._files.remove(f"{name}/{MANIFEST_NAME}")
            self._files.remove(name)

    def sweep(self, older_than_s: float) -> list[str]:
        """Remove what writers left that were killed: temporary files, folders without a manifest, uploads.

        Only what is older than ``older_than_s``, which must be longer than any write takes. Returns names.
        """
        removed = []
        with writing(self.root_uri):
            for name in list(self._files.leftovers(older_than_s)):
                folder, _, last = name.rpartition("/")
                if last == INCOMPLETE and not self._files.exists(f"{folder}/{MANIFEST_NAME}"):
                    name = folder
                self._files.remove(name)
                removed.append(name)
            removed += self._files.forget_uploads(older_than_s)
        return removed

    def uri(self, key: str) -> str:
        """The URI that a key has or would have."""
        return self._files.uri(check_name(key))

    def _put(self, name: str, source: bytes | Path, sha256: str, size_bytes: int) -> Artifact:
        uri = self._files.uri(name)
        if not self._holds(name, sha256, size_bytes):
            with writing(uri):
                self._files.write(name, source)
        return Artifact(uri, sha256, size_bytes)

    def _holds(self, name: str, sha256: str, size_bytes: int) -> bool:
        """True if the same content is in place: it is not written again."""
        try:
            with reading(name):
                if self._files.size(name) != size_bytes:
                    return False
                with self._files.open(name) as file:
                    return _digest(file) == sha256
        except (NotFoundError, InvalidInputError):
            # Nothing there, or a link: the write replaces it.
            return False

    def _manifest(self, base: str, sha256: str) -> bytes:
        place = f"{base}/{MANIFEST_NAME}"
        uri = self._files.uri(place)
        with reading(uri), self._files.open(place) as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise InvalidInputError(f"{uri} is larger than {MAX_MANIFEST_BYTES} bytes")
        return _checked(uri, raw, sha256)

    def _copy(self, name: str, target: Path, sha256: str, max_bytes: int) -> int:
        """Copy one file and check what was copied, not what lies there; returns its size in bytes."""
        uri = self._files.uri(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        size_bytes = 0
        with reading(uri):
            file = self._files.open(name)
        with closing(file), target.open("xb") as copy:
            while True:
                with reading(uri):
                    part = file.read(_CHUNK_BYTES)
                if not part:
                    break
                size_bytes += len(part)
                if size_bytes > max_bytes:
                    raise InvalidInputError(f"{uri} grew while it was read: its folder is over the limit")
                digest.update(part)
                copy.write(part)
        _check(uri, digest.hexdigest(), sha256)
        target.chmod(_PRIVATE)
        return size_bytes

    def _size(self, name: str) -> int:
        with reading(self._files.uri(name)):
            return self._files.size(name)

    def _inside(self, uri: str) -> str:
        """The name of a URI that must lie below the root."""
        given = f"file://{uri}" if uri.startswith("/") else uri
        name = given.removeprefix(f"{self.root_uri}/")
        if name == given or not is_safe(name):
            raise InvalidInputError(
                f"{ascii(uri)[:300]} is not inside the artifact store {self.root_uri}, or no artifact's name"
            )
        return name


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while part := file.read(_CHUNK_BYTES):
        digest.update(part)
    return digest.hexdigest()


def _checked(uri: str, data: bytes, sha256: str) -> bytes:
    _check(uri, sha256_bytes(data), sha256)
    return data


def _check(uri: str, found: str, expected: str) -> None:
    if found != expected:
        raise PreconditionError(
            f"{uri} is damaged: its sha256 is {found}, expected {expected}; restore it from a backup, or make"
            " it anew"
        )
