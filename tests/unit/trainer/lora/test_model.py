"""The forward pass: logits of the answer alone are those of the whole."""

from pathlib import Path
from typing import Any

import pytest
import torch

from services.common.errors import InvalidInputError
from services.trainer.lora.dataset import EncodedExample, encode_examples
from services.trainer.lora.model import AnswerLogits, adapter_parameters, load_base, new_adapter
from services.trainer.types import LoraSpec
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_examples

LORA = LoraSpec(4, 8.0, 0.0, ("q_proj", "v_proj"))


@pytest.fixture(params=["llama", "qwen2", "gemma3"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    from transformers import AutoTokenizer

    folder = make_tiny_model(request.param, tmp_path / "base")
    model = load_base(folder, torch.float32, "cpu")
    if request.param == "gemma3":
        # As Gemma 2 has it: whatever stands behind the projection must still be applied.
        model.config.final_logit_softcapping = 3.0
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = encode_examples(tokenizer, make_examples(3), {"a": 1.0, "b": 0.5}, max_length=512)
    return model, encoded


@torch.no_grad()
def test_answer_logits_of_a_padded_batch_equal_the_models_own(loaded: Any) -> None:
    model, encoded = loaded
    alone = [model(input_ids=torch.tensor([e.token_ids])).logits[0] for e in encoded]
    adapted = new_adapter(model, LORA, "base").eval()
    logits, targets, owners = AnswerLogits(adapted)(encoded)
    at = 0
    for row, (example, whole) in enumerate(zip(encoded, alone, strict=True)):
        count = len(example.token_ids) - example.answer_start
        part = slice(at, at + count)
        torch.testing.assert_close(logits[part], whole[example.answer_start - 1 : -1], rtol=1e-4, atol=1e-4)
        assert targets[part].tolist() == list(example.token_ids[example.answer_start :])
        assert owners[part].tolist() == [row] * count
        at += count
    assert at == len(logits)
    assert len({len(e.token_ids) for e in encoded}) > 1


@torch.no_grad()
def test_answer_logits_longer_than_a_sliding_window_equal_a_masked_batch(tmp_path: Path) -> None:
    folder = make_tiny_model("gemma3", tmp_path / "base")
    model = load_base(folder, torch.float32, "cpu")
    window = model.config.get_text_config().sliding_window
    lengths = (3 * window, window + 7, window // 2)
    encoded = [EncodedExample(tuple(range(6, 6 + length)), length - 9, length, 1.0) for length in lengths]
    ids, mask = torch.zeros(3, lengths[0], dtype=torch.long), torch.zeros(3, lengths[0], dtype=torch.long)
    for row, example in enumerate(encoded):
        ids[row, : len(example.token_ids)] = torch.tensor(example.token_ids)
        mask[row, : len(example.token_ids)] = 1
    masked = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    expected = torch.cat([masked[row, length - 10 : length - 1] for row, length in enumerate(lengths)])
    logits, _, _ = AnswerLogits(new_adapter(model, LORA, "base").eval())(encoded)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_new_adapter_trains_float32_lora_weights_alone(tmp_path: Path) -> None:
    base = load_base(make_tiny_model("qwen2", tmp_path / "m"), torch.bfloat16, "cpu")
    model = new_adapter(base, LORA, "base")
    parameters = adapter_parameters(model)
    assert len(parameters) == 3 * 2 * 2  # layers, modules, A and B
    assert {p.dtype for p in parameters.values()} == {torch.float32}
    assert all(".lora_" in name for name in parameters)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen} == {torch.bfloat16}


def test_new_adapter_on_unknown_modules_names_those_that_exist(tmp_path: Path) -> None:
    base = load_base(make_tiny_model("llama", tmp_path / "m"), torch.float32, "cpu")
    with pytest.raises(
        InvalidInputError, match=r"query_key_value, lm_head not in this model.*down_proj.*q_proj"
    ):
        new_adapter(base, LoraSpec(4, 8.0, 0.0, ("q_proj", "query_key_value", "lm_head")), "base")


def test_load_base_of_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="cannot load"):
        load_base(tmp_path, torch.float32, "cpu")


def test_answer_logits_ends_cut_the_targets(loaded: Any) -> None:
    model, encoded = loaded
    forward = AnswerLogits(new_adapter(model, LORA, "base").eval())
    example: EncodedExample = encoded[0]
    with torch.no_grad():
        _, targets, _ = forward([example], ends=[example.answer_end])
    assert targets.tolist() == list(example.token_ids[example.answer_start : example.answer_end])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
def test_lora_forward_and_gradients_are_those_of_peft(
    dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    base = load_base(make_tiny_model("llama", tmp_path / "m"), dtype, "cpu")
    model = new_adapter(base, LORA, "base")
    parameters = adapter_parameters(model)
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters.values():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    ids = torch.arange(12).reshape(2, 6)

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        logits = model(input_ids=ids, use_cache=False).logits.float()
        grads = torch.autograd.grad(logits.square().mean(), list(parameters.values()))
        return logits, list(grads)

    ours, our_grads = run()
    for module in model.modules():
        module.__dict__.pop("forward", None)
    theirs, their_grads = run()
    scale = theirs.abs().max().item()
    assert (ours - theirs).abs().max().item() < tolerance * scale
    for our, their in zip(our_grads, their_grads, strict=True):
        assert (our - their).norm() < 2 * tolerance * their.norm()
