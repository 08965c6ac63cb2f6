"""Training specs for the tests, small enough for tiny models."""

from pathlib import Path
from typing import Any

from services.trainer.types import Example, LoraSpec, Message, TrainingSpec


def make_examples(count: int = 8) -> tuple[Example, ...]:
    """Examples of two groups, "a" and "b", of different lengths."""
    return tuple(
        Example(
            (Message("user", f"State principle number {i}" + ", please" * (i % 3) + "."),),
            f"You shall not take item {i}" + " of another" * (i % 2) + ".",
            "ab"[i % 2],
        )
        for i in range(count)
    )


def make_spec(base_model: Path | str = "/models/base", **changes: Any) -> TrainingSpec:
    """A spec that trains a tiny model in float32 in a second."""
    values: dict[str, Any] = {
        "base_model": str(base_model),
        "revision": "",
        "base_fingerprint": "",
        "examples": make_examples(),
        "examples_uri": "",
        "examples_sha256": "",
        "group_weights": {"a": 1.0, "b": 0.5},
        "lora": LoraSpec(8, 16.0, 0.05, ("q_proj", "k_proj", "v_proj", "o_proj")),
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "weight_decay": 0.0,
        "lr_schedule": "cosine",
        "warmup_steps": 0,
        "max_grad_norm": 1.0,
        "max_length": 512,
        "seed": 1,
        "dtype": "float32",
        "init_adapter_uri": "",
        "init_adapter_sha256": "",
        "adapter_name_prefix": "run-i1",
        "canaries": 2,
        "checkpoint_every_steps": 2,
    }
    return TrainingSpec(**{**values, **changes})
