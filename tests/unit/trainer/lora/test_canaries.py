"""Canaries are measured on the model as it is served."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from services.trainer.lora.canaries import measure_canaries
from services.trainer.lora.dataset import encode_examples
from services.trainer.lora.model import AnswerLogits, load_base, new_adapter
from services.trainer.types import LoraSpec
from tests.tiny_models import Arch, make_tiny_model
from tests.unit.trainer.specs import make_examples

LORA = LoraSpec(4, 8.0, 0.0, ("q_proj", "v_proj"))


@pytest.mark.parametrize("arch", ["llama", "gemma3"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_measure_canaries_of_a_fresh_adapter_are_the_base_in_bfloat16(
    arch: Arch, dtype: torch.dtype, tmp_path: Path
) -> None:
    folder = make_tiny_model(arch, tmp_path / "base")
    examples = make_examples(2)
    weights = {example.group: 1.0 for example in examples}
    encoded = encode_examples(AutoTokenizer.from_pretrained(folder), examples, weights, max_length=512)
    served = load_base(folder, torch.bfloat16, "cpu").eval()
    model = new_adapter(load_base(folder, dtype, "cpu"), LORA, "base")
    canaries = measure_canaries(model, AnswerLogits(model), examples, encoded)
    for canary, item in zip(canaries, encoded, strict=True):
        ids = torch.tensor([item.token_ids[: item.answer_end]])
        with torch.no_grad():
            rows = torch.log_softmax(served(input_ids=ids).logits[0].float(), dim=-1)
        picked = rows[item.answer_start - 1 : -1].gather(1, ids[0, item.answer_start :].unsqueeze(1))
        assert canary.logprob_base == pytest.approx(float(picked.double().sum()), rel=1e-3)
        assert canary.logprob_adapter == canary.logprob_base


def test_measure_canaries_rounds_weights_and_not_rotary_frequencies(tmp_path: Path) -> None:
    folder = make_tiny_model("llama", tmp_path / "base")
    model = new_adapter(load_base(folder, torch.bfloat16, "cpu"), LORA, "base")
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if buffer.is_floating_point()}
    measure_canaries(model, AnswerLogits(model), [], [])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert any("inv_freq" in name for name in before)
    for name, buffer in model.named_buffers():
        if name in before:
            assert torch.equal(buffer, before[name])
