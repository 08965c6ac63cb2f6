"""A bundle's files by name, from its zip or from the folder that it was unpacked to, and their manifest."""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from services.orchestrator.analysis.archives import check_entries, read_json

MANIFEST: Final = "manifest.json"
FORMAT: Final = "valign-bundle"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 32 * 1024**3
_CHUNK_BYTES = 1 << 20


class ZipFiles(Mapping[str, bytes]):
    """Contents of a bundle's zip, read when asked for. ValueError for a zip that no bundle is."""

    def __init__(self, file: IO[bytes], max_bytes: int = MAX_BYTES) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
            raise ValueError(f"not a readable zip: {error}") from error
        entries = self._zip.infolist()
        check_entries(entries, max_bytes)
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename}: compressed; a bundle's entries are stored as they are")
        self._names = [entry.filename for entry in entries]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content in parts. ValueError if the zip's own checksum does not fit."""
        try:
            with self._zip.open(name) as entry:
                while part := entry.read(_CHUNK_BYTES):
                    yield part
        except (zipfile.BadZipFile, EOFError, RuntimeError, OSError, NotImplementedError) as error:
            raise ValueError(f"{name}: {error}") from error


class FolderFiles(Mapping[str, bytes]):
    """Contents of an unpacked bundle. Python's own caches and links are no files of it."""

    def __init__(self, folder: Path) -> None:
        self._paths = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content in parts."""
        with self._paths[name].open("rb") as file:
            while part := file.read(_CHUNK_BYTES):
                yield part


Files = ZipFiles | FolderFiles


class Below(Mapping[str, bytes]):
    """The files below one folder of a bundle, by their names in it."""

    def __init__(self, files: Mapping[str, bytes], folder: str) -> None:
        self._files, self._start = files, f"{folder}/"

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._start) for name in self._files if name.startswith(self._start))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> bytes:
        return self._files[f"{self._start}{name}"]


def manifest_faults(files: Files) -> list[str]:
    """Every file that is missing, extra or changed, as sentences. ValueError for an unreadable manifest."""
    if MANIFEST not in files:
        return [f"{MANIFEST}: missing"]
    manifest = read_json(MANIFEST, files[MANIFEST])
    if (manifest.get("format"), manifest.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise ValueError(
            f"{MANIFEST}: format {manifest.get('format')!r} version {manifest.get('format_version')!r};"
            f" this version of valign reads {FORMAT!r} version {FORMAT_VERSION}"
        )
    listed: Any = manifest.get("files")
    if not isinstance(listed, dict):
        raise ValueError(f"{MANIFEST}: files is no object")
    faults = [f"{name}: missing" for name in sorted(listed.keys() - set(files))]
    faults += [f"{name}: not in the manifest" for name in sorted(set(files) - listed.keys() - {MANIFEST})]
    for name in sorted(listed.keys() & set(files)):
        digest = sha256_of(files, name)
        if digest != listed[name]:
            faults.append(f"{name}: changed (sha256 {digest}, the manifest says {listed[name]})")
    return faults


def sha256_of(files: Files, name: str) -> str:
    """Sha256 (hex) of a file, read in parts."""
    digest = hashlib.sha256()
    for part in files.chunks(name):
        digest.update(part)
    return digest.hexdigest()
