"""The plan's counts of weights, and of what the backward pass keeps, against the trainer's own model."""

import pytest

from services.orchestrator.planning.memory import layer_activation_bytes
from services.orchestrator.planning.shape import ModelShape, shape_of
from services.trainer.types import LoraSpec

TOKENS, EXAMPLES, RANK = 128, 2, 16
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")


def kept_bytes(layers: int) -> tuple[int, ModelShape, int, int]:
    """Bytes that one forward pass keeps, the shape, and the weights of base and adapter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from services.trainer.lora.dataset import EncodedExample
    from services.trainer.lora.model import AnswerLogits, new_adapter

    config = LlamaConfig(
        hidden_size=512,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=1536,
        vocab_size=1000,
        tie_word_embeddings=True,
    )
    base = LlamaForCausalLM(config).to(torch.bfloat16)
    base.requires_grad_(False)
    spec = LoraSpec(rank=RANK, alpha=32, dropout=0.05, target_modules=TARGETS)
    model = new_adapter(base, spec, "tiny")
    model.train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    example = EncodedExample(tuple(range(1, TOKENS + 1)), TOKENS - 8, TOKENS - 1, 1.0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        AnswerLogits(model)([example] * EXAMPLES)
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - adapter
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return total, shape_of(config.to_dict()), frozen, adapter


def test_planned_memory_is_that_of_the_trainers_model() -> None:
    one, _, _, _ = kept_bytes(1)
    three, shape, frozen, adapter = kept_bytes(3)
    assert (shape.weights, shape.lora_weights(RANK, TARGETS)) == (frozen, adapter)
    each = (three - one) / 2 / (TOKENS * EXAMPLES)
    # On a CPU dropout keeps its mask in the activations' type.
    assert layer_activation_bytes(shape, 2, mask_bytes=2) == pytest.approx(each, rel=0.03)
