"""Names that are safe to join to a root, and sha256 of bytes, files and folders."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from services.common.errors import InvalidInputError, NotFoundError

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_CHARACTERS = 512
# File systems take 255 bytes a part; a part's temporary name is shorter than that.
_MAX_PART_CHARACTERS = 255


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


def is_safe(name: str) -> bool:
    """True if the name can be joined to a root: no part begins with a dot, none is too long."""
    return (
        len(name) <= _MAX_CHARACTERS
        and SAFE_NAME.fullmatch(name) is not None
        and all(len(part) <= _MAX_PART_CHARACTERS for part in name.split("/"))
    )


def check_name(name: str) -> str:
    """Return a relative name that is safe to join to a root; raises InvalidInputError otherwise."""
    if not isinstance(name, str) or not is_safe(name):
        shown = ascii(name)[:120]
        raise InvalidInputError(
            f"{shown} is no artifact name: use letters, digits, '.', '_', '-' and '/', at most"
            f" {_MAX_CHARACTERS} characters, and begin no part with '.'"
        )
    return name
