"""What goes out as files: the adapter's folder.

Adapters are published in PEFT's format with a manifest that names their base, their spec and
their canaries. The manifest does not name the adapter: its name holds the manifest's sha256.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from services.common.artifacts import ArtifactStore
from services.trainer.types import TrainedAdapter, TrainingSpec

log = structlog.get_logger(__name__)

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class Canary:
    """A text whose log-probabilities (nats, summed over ``tokens`` tokens) prove which weights answer.

    ``continuation`` follows the rendered ``messages``; the end of turn is not part of it.
    """

    messages: tuple[dict[str, str], ...]
    continuation: str
    logprob_adapter: float
    logprob_base: float
    tokens: int


def publish_adapter(
    store: ArtifactStore,
    folder: Path,
    spec: TrainingSpec,
    *,
    base_fingerprint: str,
    canaries: Sequence[Canary],
    base_quantization: str = "none",
) -> TrainedAdapter:
    """Put a PEFT folder into the store under ``adapters/<prefix>-<sha8>``.

    The same folder and spec give the same name; publishing twice changes nothing. ``base_quantization`` of
    the base that was trained on is told unless there was none.
    """
    _normalise(folder)
    meta = {
        "format": "peft-lora",
        "base_model": spec.base_model,
        "base_revision": spec.revision,
        "base_fingerprint": base_fingerprint,
        "rank": spec.lora.rank,
        "alpha": spec.lora.alpha,
        "target_modules": sorted(spec.lora.target_modules),
        "training_spec_sha256": spec.sha256,
        "name_prefix": spec.adapter_name_prefix,
        "canaries": [asdict(canary) for canary in canaries],
    }
    if base_quantization != "none":
        meta["base_quantization"] = base_quantization
    artifact = store.put_folder(f"adapters/{spec.adapter_name_prefix}-{{sha8}}", folder, meta)
    name = artifact.uri.rstrip("/").rpartition("/")[2]
    log.info("adapter.published", name=name, uri=artifact.uri, size_bytes=artifact.size_bytes)
    return TrainedAdapter(name, artifact.uri, artifact.sha256)


def _normalise(folder: Path) -> None:
    """Leave the adapter's two files alone, and write its configuration in one fixed order.

    PEFT writes a model card, and sets in an order that differs from process to process.
    """
    for path in folder.iterdir():
        if path.name not in ADAPTER_FILES:
            path.unlink()
    path = folder / "adapter_config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
