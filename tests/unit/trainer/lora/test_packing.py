"""Packed rows: every example is there once, and none sees another."""

from pathlib import Path
from typing import Any

import pytest
import torch

from services.common.errors import PreconditionError
from services.trainer.lora.dataset import EncodedExample, encode_examples
from services.trainer.lora.model import AnswerLogits, check_packing, load_base, new_adapter
from services.trainer.lora.packing import one_a_row, packed
from services.trainer.lora.train import share_loss
from services.trainer.lora.world import World
from services.trainer.types import LoraSpec
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_examples

LORA = LoraSpec(4, 8.0, 0.1, ("q_proj", "v_proj"))


def example(*token_ids: int) -> EncodedExample:
    return EncodedExample(token_ids, 1, len(token_ids), 1.0)


def test_packed_rows_hold_every_example_once_with_its_own_positions() -> None:
    rows = packed([example(1, 2), example(3, 4, 5, 6), example(7, 8, 9)], 6)
    assert rows.token_ids == [[3, 4, 5, 6, 1, 2], [7, 8, 9, 0, 0, 0]]
    assert rows.positions == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 1, 2]]
    assert rows.starts == [(0, 4), (0, 0), (1, 0)]


def test_packed_example_longer_than_a_row_gets_one_of_its_length() -> None:
    assert packed([example(1, 2, 3, 4), example(5, 6)], 3).token_ids == [[1, 2, 3, 4], [5, 6, 0, 0]]


def test_one_a_row_has_no_positions() -> None:
    rows = one_a_row([example(1, 2), example(3, 4, 5)])
    assert rows.token_ids == [[1, 2, 0], [3, 4, 5]]
    assert rows.positions is None


def make_model(arch: Any, folder: Path, checkpointing: bool = False) -> tuple[Any, list[EncodedExample]]:
    from transformers import AutoTokenizer

    make_tiny_model(arch, folder)
    base = load_base(folder, torch.float32, "cpu")
    if checkpointing:
        network: Any = base
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.manual_seed(0)
    model = new_adapter(base, LORA, "base")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = encode_examples(tokenizer, make_examples(6), {"a": 1.0, "b": 0.25}, max_length=512)
    return model.train(), examples


def loss_and_gradient(model: Any, forward: AnswerLogits, batch: list[EncodedExample]) -> tuple[float, Any]:
    model.zero_grad()
    loss = share_loss(forward, batch, World(), seed=3)
    loss.backward()
    grads = [p.grad.flatten().clone() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(grads)


@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma3"])
def test_packed_and_unpacked_losses_and_gradients_agree_with_dropout(arch: Any, tmp_path: Path) -> None:
    model, batch = make_model(arch, tmp_path)
    plain = loss_and_gradient(model, AnswerLogits(model), batch)
    other, _ = make_model(arch, tmp_path)
    forward = AnswerLogits(other, pack_tokens=512)
    check_packing(other, forward, batch)
    dense = loss_and_gradient(other, forward, batch)
    assert dense[0] == pytest.approx(plain[0], rel=1e-5)
    torch.testing.assert_close(dense[1], plain[1], rtol=1e-3, atol=1e-6)


def test_gradient_checkpointing_leaves_loss_and_gradient_with_dropout_alone(tmp_path: Path) -> None:
    model, batch = make_model("llama", tmp_path)
    plain = loss_and_gradient(model, AnswerLogits(model), batch)
    other, _ = make_model("llama", tmp_path, checkpointing=True)
    twice = loss_and_gradient(other, AnswerLogits(other), batch)
    assert twice[0] == pytest.approx(plain[0], rel=1e-6)
    torch.testing.assert_close(twice[1], plain[1], rtol=1e-4, atol=1e-7)


def test_shares_of_a_batch_with_dropout_add_up_to_its_loss(tmp_path: Path) -> None:
    """The mask belongs to the example: the other half of the batch may be anywhere."""
    model, batch = make_model("llama", tmp_path)
    forward = AnswerLogits(model)
    whole = share_loss(forward, batch, World(), seed=3).item()
    parts = [share_loss(forward, batch, World(rank, 4), seed=3).item() for rank in range(4)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    assert share_loss(forward, batch, World(), seed=4).item() != pytest.approx(whole, rel=1e-5)
    alone = share_loss(forward, batch[:1], World(1, 2), seed=3)
    assert alone.item() == 0.0


def test_check_packing_of_a_model_that_lets_examples_see_each_other_is_refused(tmp_path: Path) -> None:
    model, batch = make_model("llama", tmp_path)

    class Blind(torch.nn.Module):
        """Takes no notice of positions that begin again."""

        def forward(self, position_ids: Any = None, **inputs: Any) -> Any:
            return model(**inputs)

    forward = AnswerLogits(model, Blind(), pack_tokens=512)
    with pytest.raises(PreconditionError, match=r"see each other in Llama.*VALIGN_TRAINER_PACKING"):
        check_packing(model, forward, batch)
