"""Zips and JSON files that may come from a stranger, and such files of our own that are always the same.

No name leaves its folder, sizes are bounded before anything is read, and every fault is a ValueError that
names the entry.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final

MAX_BYTES: Final = 8 * 1024**3
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def write_zip(
    file: IO[bytes], entries: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED
) -> None:
    """Entries in the order given, with a fixed date and plain rights: equal entries give equal bytes."""
    with zipfile.ZipFile(file, "w", compression, compresslevel=6) as archive:
        for name, content in entries:
            archive.writestr(zip_entry(name, compression), content)


def zip_entry(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """An entry that says nothing of when and where it was written."""
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type, entry.create_system, entry.external_attr = compression, 3, 0o644 << 16
    return entry


def read_stored_zip(file: IO[bytes], max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """Contents by name of a zip whose entries are not compressed. ValueError names what is wrong."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            check_entries(entries, max_bytes)
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(
                        f"{entry.filename}: compressed; entries of this format are stored as they are"
                    )
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a readable zip: {error}") from error


def check_entries(entries: Iterable[zipfile.ZipInfo], max_bytes: int) -> None:
    """ValueError for a name that leaves the folder or comes twice, an encrypted entry, or too much data."""
    seen: set[str] = set()
    total_bytes = 0
    for entry in entries:
        name = entry.filename
        parts = name.split("/")
        if (
            not name
            or "\\" in name
            or ":" in name
            or "\0" in name
            or any(p in ("", ".", "..") for p in parts)
        ):
            raise ValueError(f"{name!r}: not a plain relative name")
        if name in seen:
            raise ValueError(f"{name}: there twice")
        if entry.flag_bits & 0x1:
            raise ValueError(f"{name}: encrypted")
        seen.add(name)
        total_bytes += entry.file_size
        if total_bytes > max_bytes:
            raise ValueError(f"{name}: more than {max_bytes} bytes in all")


def read_json(name: str, data: bytes) -> Any:
    """The JSON object of a file. ValueError, naming it, for anything else, NaN and infinities included."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = json.loads(data.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name}: a JSON object expected, not {type(value).__name__}")
    return value


def read_jsonl(name: str, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, object) of every line."""
    if data and not data.endswith(b"\n"):
        raise ValueError(f"{name}: the last line is cut off")
    # Only the line feed ends a line: texts hold other separators.
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        yield number, read_json(f"{name} line {number}", line)


def dump_json(name: str, value: Any) -> bytes:
    return _dumps(name, value, indent=1) + b"\n"


def dump_jsonl(name: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_dumps(f"{name} line {number}", row) + b"\n" for number, row in enumerate(rows, start=1))


def _dumps(name: str, value: Any, indent: int | None = None) -> bytes:
    # Keys keep their order: the order of topics and values is part of what they say.
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
