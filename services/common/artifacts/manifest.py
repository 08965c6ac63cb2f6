"""The manifest of a folder: what it holds, by sha256. A folder is there once its manifest is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.artifacts.names import SHA256, check_name, sha256_bytes
from services.common.errors import InvalidInputError, PreconditionError
from services.common.strict_json import loads

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_FILES = 1000
# Brackets and commas: enough for 256 long canaries, too few to fill a memory.
_MAX_PARTS = 200_000


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
            raw = loads(data, max_parts=_MAX_PARTS)
            files, meta = raw["files"], raw["meta"]
            if not isinstance(files, dict) or not isinstance(meta, dict):
                raise TypeError("files and meta must be objects")
            _check_files(files)
        except (ValueError, KeyError, TypeError, InvalidInputError) as error:
            raise PreconditionError(f"{MANIFEST_NAME} is not a manifest: {str(error)[:300]}") from error
        return cls(files, meta)

    @property
    def sha256(self) -> str:
        """sha256 (hex) of ``to_bytes()``: the identity of the folder."""
        return sha256_bytes(self.to_bytes())


def _check_files(files: Mapping[str, Any]) -> None:
    if len(files) > MAX_FILES:
        raise ValueError(f"it names {len(files)} files, at most {MAX_FILES} are taken")
    for name, digest in files.items():
        check_name(name)
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            raise ValueError(f"{name}: {ascii(digest)[:80]} is no sha256")
        parts = name.split("/")
        if name == MANIFEST_NAME:
            raise ValueError("it names itself")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in files:
                raise ValueError(f"{'/'.join(parts[:end])} is a file and a folder")
