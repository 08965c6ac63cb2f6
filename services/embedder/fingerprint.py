"""The identity of a sentence encoder: a sha256 over the files that decide its rows."""

import json
from pathlib import Path

from services.common.artifacts import sha256_bytes, sha256_file
from services.common.errors import PreconditionError

_WEIGHTS = (".safetensors", ".bin")
_SUFFIXES = (*_WEIGHTS, ".json", ".txt", ".model", ".jinja")
# In many published folders, and without effect on a row.
_IGNORED = ("data_config.json", "train_config.json", "training_args.bin", "optimizer.bin", "requirements.txt")


def fingerprint_encoder(folder: Path, *, precision: str) -> str:
    """sha256 (hex) over weights, tokenizer, pooling and normalisation of a sentence-transformers folder.

    Covers the folder itself and the folder of each module in ``modules.json``; where a folder has
    safetensors, its ``.bin`` files are not what is loaded and do not count. Two copies of the same
    model have the same fingerprint, wherever they lie and whatever README they carry.

    Raises:
        PreconditionError: the folder has no weights.
    """
    names: set[str] = set()
    for part in _module_folders(folder):
        paths = [p for p in part.iterdir() if p.is_file() and _counts(p)]
        safe = any(p.suffix == ".safetensors" for p in paths)
        names |= {p.relative_to(folder).as_posix() for p in paths if not (safe and p.suffix == ".bin")}
    if not any(name.endswith(_WEIGHTS) for name in names):
        raise PreconditionError(f"{folder} holds no weights (*.safetensors or *.bin): is it a model folder?")
    lines = [f"{name}\0{sha256_file(folder / name)}\n" for name in sorted(names)]
    return sha256_bytes(f"{''.join(lines)}precision\0{precision}\n".encode())


def _counts(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".") and path.name not in _IGNORED


def _module_folders(folder: Path) -> list[Path]:
    modules_file = folder / "modules.json"
    if not modules_file.is_file():
        return [folder]
    paths = {folder / module["path"] for module in json.loads(modules_file.read_text(encoding="utf-8"))}
    # A module without parameters (Normalize) need not have a folder.
    return [folder, *sorted(path for path in paths if path != folder and path.is_dir())]
