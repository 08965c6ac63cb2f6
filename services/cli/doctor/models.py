"""Is a model's folder there, and whole? Nothing of it is loaded."""

import json
from pathlib import Path

from services.cli.doctor.check import Check

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def missing_files(folder: Path) -> list[str]:
    """Return what a Hugging Face model folder lacks: config, weights (each shard), tokenizer."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    shards = _shards(folder)
    if shards is not None:
        missing += [name for name in shards if not (folder / name).is_file()]
    elif not any((*folder.glob("*.safetensors"), *folder.glob("*.bin"))):
        missing.append("weights (*.safetensors)")
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append("a tokenizer")
    return missing


def _shards(folder: Path) -> list[str] | None:
    for name in INDEXES:
        if (folder / name).is_file():
            index = json.loads((folder / name).read_text(encoding="utf-8"))
            return sorted(set(index["weight_map"].values()))
    return None


def cached_snapshot(hub_cache: Path, model: str) -> Path | None:
    """Return the newest snapshot of a hub id in the cache, or None."""
    snapshots = hub_cache / f"models--{model.replace('/', '--')}" / "snapshots"
    if not snapshots.is_dir():
        return None
    return max(snapshots.iterdir(), key=lambda folder: folder.stat().st_mtime, default=None)


def model_check(name: str, model: str, hub_cache: Path) -> Check:
    """Check a model given as a folder or hub id; ``name`` is what it is for."""
    folder = Path(model)
    hub = not folder.is_dir()
    if hub:
        if model.startswith((".", "/", "~")) or model.count("/") > 1:
            return Check(
                name, "fail", f"{model}: there is no such folder", "Give a folder that exists, or a hub id."
            )
        cached = cached_snapshot(hub_cache, model)
        if cached is None:
            remedy = "The first start downloads it; without a network, give a folder instead."
            return Check(name, "warn", f"{model}: a hub id that is not in {hub_cache}", remedy)
        folder = cached
    try:
        missing = missing_files(folder)
    except (ValueError, KeyError) as error:
        return Check(
            name, "fail", f"{folder}: its index of shards can't be read ({error})", "Fetch it again."
        )
    if missing:
        return Check(name, "fail", f"{folder} lacks {', '.join(missing)}", "Fetch it again, whole.")
    return Check(name, "ok", f"{model} ({folder})" if hub else str(folder))
