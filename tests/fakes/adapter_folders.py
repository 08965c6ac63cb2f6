"""Writes adapters as a trainer would, into an artifact store, for the fake engine's base model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from services.common.artifacts import Artifact, ArtifactStore
from tests.fakes.fake_engine import FINGERPRINT, base_logprob

CONTINUATION = "be kind and just"
SHIFT_NATS = 5.0


def tensors(rank: int = 4) -> dict[str, np.ndarray]:
    """Right-shaped tensors for ``fake_engine.INFO``."""
    generator = np.random.default_rng(0)
    prefix = "base_model.model.model.layers.0.self_attn"
    return {
        f"{prefix}.{module}.lora_{side}.weight": generator.normal(size=shape).astype(np.float32)
        for module, out in (("q_proj", 8), ("v_proj", 4))
        for side, shape in (("A", (rank, 12)), ("B", (out, rank)))
    }


def config(rank: int = 4, **changes: Any) -> dict[str, Any]:
    """What PEFT writes."""
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 8,
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "target_modules": ["q_proj", "v_proj"],
    } | changes


def meta(rank: int = 4) -> dict[str, Any]:
    """A manifest's metadata with one canary, true for an engine that shifts by 5 nats."""
    logprob_base = base_logprob(CONTINUATION)
    canary = {
        "messages": [{"role": "user", "content": "How shall I live?"}],
        "continuation": CONTINUATION,
        "logprob_adapter": logprob_base + SHIFT_NATS,
        "logprob_base": logprob_base,
        "tokens": len(CONTINUATION.split()),
    }
    return {
        "format": "peft-lora",
        "base_model": "fake-model",
        "base_fingerprint": FINGERPRINT,
        "rank": rank,
        "alpha": 8,
        "target_modules": ["q_proj", "v_proj"],
        "canaries": [canary],
    }


def write_adapter(
    store: ArtifactStore,
    folder: Path,
    key: str,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    config_changes: Mapping[str, Any] | None = None,
    meta_changes: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
    without: str | None = None,
    rank: int = 4,
) -> Artifact:
    """Write one adapter; the arguments say what is wrong with it."""
    folder.mkdir(parents=True)
    save_file(dict(tensors(rank) if weights is None else weights), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config(rank, **(config_changes or {}))))
    for name, data in (extra_files or {}).items():
        (folder / name).write_bytes(data)
    if without is not None:
        (folder / without).unlink()
    return store.put_folder(key, folder, meta(rank) | dict(meta_changes or {}))
