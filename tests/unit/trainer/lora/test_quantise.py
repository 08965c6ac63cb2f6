"""QLoRA with the real bitsandbytes on a CPU, and where it is not installed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.compute import Compute
from services.trainer.lora.quantise import load_quantised_base
from services.trainer.lora.train import run_job
from services.trainer.types import Progress
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_spec

NF4 = Compute(quantization="nf4")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


class Trained:
    """One job's curve, adapter and manifest."""

    def __init__(self, root: Path, base: Path, compute: Compute) -> None:
        store = ArtifactStore(str(root / "store"))
        self.curve: list[Progress] = []
        spec = make_spec(base, dtype="bfloat16", learning_rate=1e-2, epochs=5)
        adapter = run_job(
            spec,
            work=root / "work",
            checkpoints=root / "checkpoints",
            store=store,
            report=self.curve.append,
            threads=1,
            compute=compute,
        )
        manifest = store.fetch_folder(adapter.uri, adapter.sha256, root / "fetched")
        self.meta: dict[str, Any] = dict(manifest.meta)
        self.weights = load_file(root / "fetched" / "adapter_model.safetensors")


def test_load_quantised_base_is_frozen_in_four_bits_and_answers_nearly_as_the_whole(base: Path) -> None:
    from bitsandbytes.nn import Linear4bit
    from transformers import AutoModelForCausalLM

    model = load_quantised_base(base, torch.float32, "cpu")
    packed = {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit)}
    layers = model.config.num_hidden_layers
    assert len(packed) == 7 * layers, "attention's four and the MLP's three of each layer"
    for linear in packed.values():
        assert linear.weight.dtype == torch.uint8
        assert linear.weight.quant_state.quant_type == "nf4"
        # Two weights a byte.
        assert linear.weight.numel() * 2 == linear.in_features * linear.out_features
    assert not any(parameter.requires_grad for parameter in model.parameters())
    whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        packed_logits, logits = model(input_ids=ids).logits, whole(input_ids=ids).logits
    assert not torch.equal(packed_logits, logits)
    alike = torch.cosine_similarity(packed_logits.flatten(), logits.flatten(), dim=0)
    assert float(alike) > 0.95


def test_run_job_nf4_lowers_the_loss_and_measures_canaries_on_the_whole_base(
    base: Path, tmp_path: Path
) -> None:
    packed, whole = Trained(tmp_path / "nf4", base, NF4), Trained(tmp_path / "whole", base, Compute())
    assert packed.curve[-1].loss < 0.75 * packed.curve[0].loss
    assert packed.meta["base_quantization"] == "nf4"
    assert "base_quantization" not in whole.meta
    # It was trained on another base, and came to another adapter that does the same.
    assert packed.weights.keys() == whole.weights.keys()
    assert any(not torch.equal(packed.weights[name], whole.weights[name]) for name in whole.weights)
    for ours, theirs in zip(packed.meta["canaries"], whole.meta["canaries"], strict=True):
        # The generator serves the whole base: so its answer must be the whole base's, to the last digit.
        assert ours["logprob_base"] == theirs["logprob_base"]
        assert ours["logprob_adapter"] > ours["logprob_base"] + ours["tokens"]


def test_load_quantised_base_of_no_model_is_invalid_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot load a causal language model"):
        load_quantised_base(tmp_path, torch.float32, "cpu")


def test_load_quantised_base_without_bitsandbytes_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PreconditionError, match=r"bitsandbytes is not installed; install valign\[qlora\]"):
        load_quantised_base(tmp_path, torch.float32, "cpu")
