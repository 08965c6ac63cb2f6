"""Folders and files in an artifact store (a local folder or S3, through fsspec).

What is written appears whole or not at all, and what is read is checked against its
sha256. Paths cannot leave the store: an adapter or data set may come from a stranger.
"""

import hashlib
import json
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from services.common.errors import InvalidInputError, NotFoundError, PreconditionError

MANIFEST_NAME = "manifest.json"
_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """Something in the store. For a folder, ``sha256`` is that of its manifest."""

    uri: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds: sha256 (hex) of each file by relative name, and free metadata."""

    files: Mapping[str, str]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, UTF-8, a final newline."""
        data = {"files": dict(self.files), "meta": dict(self.meta)}
        return (json.dumps(data, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Parse and check; raises PreconditionError for anything that ``to_bytes`` would not write."""
        try:
            raw = json.loads(data)
            files, meta = raw["files"], raw["meta"]
            if not isinstance(files, dict) or not isinstance(meta, dict):
                raise TypeError("files and meta must be objects")
            for name, digest in files.items():
                check_name(name)
                if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                    raise ValueError(f"{name}: {digest!r} is no sha256")
        except (ValueError, KeyError, TypeError, RecursionError, InvalidInputError) as error:
            raise PreconditionError(f"{MANIFEST_NAME} is not a manifest: {error}") from error
        return cls(files, meta)

    @property
    def sha256(self) -> str:
        """sha256 (hex) of ``to_bytes()``: the identity of the folder."""
        return sha256_bytes(self.to_bytes())


def sha256_bytes(data: bytes) -> str:
    """sha256 (hex) of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_folder(folder: Path, patterns: Sequence[str]) -> str:
    """sha256 (hex) over the names and contents of the files directly in ``folder`` that match.

    The digest covers sorted lines ``name, NUL, sha256 of the file, newline``; it does not
    depend on where the folder lies. Raises NotFoundError if nothing matches.
    """
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    if not paths:
        raise NotFoundError(f"{folder} has no file that matches {', '.join(patterns)}")
    lines = "".join(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n" for path in paths)
    return sha256_bytes(lines.encode())


def check_name(name: str) -> str:
    """Return a relative name that is safe to join to a root; raises InvalidInputError otherwise."""
    if not isinstance(name, str) or len(name) > 512 or not _SAFE_NAME.fullmatch(name):
        raise InvalidInputError(f"{name!r} is no artifact name: use letters, digits, '.', '_', '-' and '/'")
    return name


class ArtifactStore:
    """A store below one root.

    Args:
        root_uri: a local path or an fsspec URI (``file:///data/artifacts``, ``s3://bucket/prefix``).
    """

    def __init__(self, root_uri: str) -> None:
        if "://" not in root_uri:
            root_uri = Path(root_uri).absolute().as_uri()
        self._fs, root = url_to_fs(root_uri)
        self._root = root.rstrip("/")
        self.root_uri = self._uri(self._root)

    def put_bytes(self, key: str, data: bytes) -> Artifact:
        """Write one file atomically; an existing one is replaced."""
        path = self._path(key)
        self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
        part = f"{path}.part-{uuid.uuid4().hex}"
        with self._fs.open(part, "wb") as file:
            file.write(data)
        self._fs.mv(part, path)
        return Artifact(self._uri(path), sha256_bytes(data), len(data))

    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes:
        """Read one file; with ``sha256`` given, PreconditionError if the content is another."""
        path = self._inside(uri)
        try:
            data: bytes = self._fs.cat_file(path)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFoundError(f"no such artifact: {uri}") from error
        if sha256 is not None and sha256_bytes(data) != sha256:
            raise PreconditionError(f"{uri} is damaged: sha256 is {sha256_bytes(data)}, expected {sha256}")
        return data

    def put_file(self, key: str, source: Path) -> Artifact:
        """Copy a local file into the store atomically, in parts; an existing one is replaced."""
        path = self._path(key)
        self._fs.makedirs(posixpath.dirname(path), exist_ok=True)
        part = f"{path}.part-{uuid.uuid4().hex}"
        self._fs.put_file(str(source), part)
        self._fs.mv(part, path)
        return Artifact(self._uri(path), sha256_file(source), source.stat().st_size)

    def read_parts(self, uri: str) -> Iterator[bytes]:
        """Read one file in parts of at most 1 MiB; NotFoundError before the first if there is none."""
        path = self._inside(uri)
        try:
            file = self._fs.open(path, "rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFoundError(f"no such artifact: {uri}") from error
        with file:
            while part := file.read(_CHUNK_BYTES):
                yield part

    def put_folder(self, key: str, folder: Path, meta: Mapping[str, Any]) -> Artifact:
        """Write a folder's files and their manifest, and move them in place in one step.

        ``{sha8}`` in the key becomes the first 8 digits of the manifest's sha256. A folder that
        is in place already with the same manifest is left alone.
        """
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        manifest = Manifest({check_name(name): sha256_file(folder / name) for name in names}, meta)
        path = self._path(key.replace("{sha8}", manifest.sha256[:8]))
        size_bytes = sum((folder / name).stat().st_size for name in names)
        artifact = Artifact(self._uri(path), manifest.sha256, size_bytes)
        if self._fs.exists(f"{path}/{MANIFEST_NAME}"):
            self.get_bytes(f"{artifact.uri}/{MANIFEST_NAME}", manifest.sha256)
            return artifact
        part = f"{path}.part-{uuid.uuid4().hex}"
        self._fs.makedirs(part, exist_ok=True)
        for name in names:
            self._fs.makedirs(posixpath.dirname(f"{part}/{name}"), exist_ok=True)
            self._fs.put_file(str(folder / name), f"{part}/{name}")
        with self._fs.open(f"{part}/{MANIFEST_NAME}", "wb") as file:
            file.write(manifest.to_bytes())
        self._fs.mv(part, path, recursive=True)
        return artifact

    def fetch_folder(self, uri: str, sha256: str, dest: Path, *, max_bytes: int = 8 * 1024**3) -> Manifest:
        """Copy a folder to ``dest``, checked, and in place only when it is whole.

        Only files that the manifest names are copied. A ``dest`` that exists is taken as
        fetched before and is checked again.

        Raises:
            NotFoundError: no folder, no manifest, or a file of it is missing.
            PreconditionError: the manifest or a file has another sha256.
            InvalidInputError: the URI leaves the store, or the folder is larger than ``max_bytes``.
        """
        path = self._inside(uri)
        manifest_path = f"{path}/{MANIFEST_NAME}"
        if self._size(manifest_path) > _MAX_MANIFEST_BYTES:
            raise InvalidInputError(f"{uri}: {MANIFEST_NAME} is larger than {_MAX_MANIFEST_BYTES} bytes")
        raw = self.get_bytes(self._uri(manifest_path), sha256)
        manifest = Manifest.from_bytes(raw)
        total_bytes = sum(self._size(f"{path}/{name}") for name in manifest.files)
        if total_bytes > max_bytes:
            raise InvalidInputError(f"{uri} holds {total_bytes} bytes, more than the limit of {max_bytes}")
        if dest.exists():
            if all((dest / n).is_file() and sha256_file(dest / n) == d for n, d in manifest.files.items()):
                return manifest
            shutil.rmtree(dest)
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
            part = Path(temporary) / "folder"
            part.mkdir()
            (part / MANIFEST_NAME).write_bytes(raw)
            for name, digest in manifest.files.items():
                target = part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(f"{path}/{name}", str(target))
                if sha256_file(target) != digest:
                    raise PreconditionError(
                        f"{uri}/{name} is damaged: sha256 is {sha256_file(target)}, expected {digest}"
                    )
            part.rename(dest)
        return manifest

    def exists(self, uri: str) -> bool:
        """True if there is a file or folder at the URI."""
        return bool(self._fs.exists(self._inside(uri)))

    def delete(self, uri: str) -> None:
        """Remove a file or folder; one that is not there is no error."""
        path = self._inside(uri)
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def uri(self, key: str) -> str:
        """The URI that a key has or would have."""
        return self._uri(self._path(key))

    def _size(self, path: str) -> int:
        try:
            info = self._fs.info(path)
        except FileNotFoundError as error:
            raise NotFoundError(f"no such artifact: {self._uri(path)}") from error
        # A link in a local store could point anywhere.
        if info.get("islink"):
            raise InvalidInputError(f"{self._uri(path)} is a link; artifacts are plain files")
        return int(info["size"] or 0)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_name(key)}"

    def _uri(self, path: str) -> str:
        return str(self._fs.unstrip_protocol(path))

    def _inside(self, uri: str) -> str:
        """The path of a URI that must lie below the root."""
        protocols = (self._fs.protocol,) if isinstance(self._fs.protocol, str) else self._fs.protocol
        scheme = fsspec.utils.get_protocol(uri)
        path = str(self._fs._strip_protocol(uri)) if scheme in protocols else ""
        relative = path[len(self._root) + 1 :]
        if not path.startswith(f"{self._root}/") or not _SAFE_NAME.fullmatch(relative):
            raise InvalidInputError(f"{uri!r} is not inside the artifact store {self.root_uri}")
        return path
