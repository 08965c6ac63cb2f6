"""The page's files as they are sent: a closed list, one version over all of them, compressed once.

All files but the first live under ``/web/<version>/``, where the version is the start of the sha256 over
their names and bytes: what a browser keeps under that name can never be out of date. The first page alone
has a fixed address; it names the version.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
FIRST = "index.html"
FRAME = "frame.html"
VERSION = b"{version}"
CREDENTIALS = b"{credentials}"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_VERSION_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file: its bytes as they are and gzipped, their media type, and a strong entity tag of each form."""

    media_type: str
    body: bytes
    packed: bytes
    etag: str
    packed_etag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> "WebFile":
        """From a name, which tells the type, and the bytes. The same bytes always give the same file."""
        digest = hashlib.sha256(body).hexdigest()[:32]
        return cls(
            media_type=_TYPES[Path(name).suffix],
            body=body,
            packed=gzip.compress(body, 9, mtime=0),
            etag=f'"{digest}"',
            packed_etag=f'"{digest}-gzip"',
        )


@dataclass(frozen=True, slots=True)
class WebFiles:
    """All files by the name that follows the version; ``first`` is what stands at ``/``."""

    version: str
    first: WebFile
    files: Mapping[str, WebFile]

    @property
    def size_bytes(self) -> int:
        """Bytes of everything, not compressed."""
        return len(self.first.body) + sum(len(one.body) for one in self.files.values())

    @property
    def packed_bytes(self) -> int:
        """Bytes of everything as it travels to a browser that takes gzip."""
        return len(self.first.packed) + sum(len(one.packed) for one in self.files.values())


@cache
def web_files(credentials_required: bool = False) -> WebFiles:
    """Read the package's files, once a process.

    Args:
        credentials_required: told to the page, which then asks for a key before its first call.
    """
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }
    whole = hashlib.sha256()
    for name, body in found.items():
        whole.update(f"{name}\0{len(body)}\0".encode() + body)
    version = whole.hexdigest()[:_VERSION_CHARACTERS]
    asked = b"required" if credentials_required else b"none"
    first = found.pop(FIRST).replace(VERSION, version.encode()).replace(CREDENTIALS, asked)
    return WebFiles(
        version, WebFile.of(FIRST, first), {name: WebFile.of(name, body) for name, body in found.items()}
    )
