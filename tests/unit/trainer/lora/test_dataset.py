"""From examples to tokens and batches."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidInputError
from services.trainer.lora.dataset import (
    batch_indices,
    encode_examples,
    parse_examples,
    steps_per_epoch,
)
from services.trainer.types import Example, Message
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_examples

WEIGHTS = {"a": 1.0, "b": 0.5}


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma3"])
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("chat_template", [True, False])
def test_encode_examples_of_each_tokenizer_splits_prompt_answer_and_end(
    arch: str, chat_template: bool, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(arch, tmp_path / "m", chat_template))  # type: ignore[arg-type]
    example = Example((Message("user", "何か"),), "You shall not — 人工.", "b")
    (encoded,) = encode_examples(tokenizer, [example], WEIGHTS, max_length=512)
    answer = tokenizer.decode(encoded.token_ids[encoded.answer_start : encoded.answer_end])
    assert answer.strip() == example.answer
    assert "何か" in tokenizer.decode(encoded.token_ids[: encoded.answer_start])
    end = tokenizer.decode(encoded.token_ids[encoded.answer_end :])
    turn_ends = {"llama": "<|eot_id|>", "qwen2": "<|im_end|>", "gemma3": "<end_of_turn>"}
    ends = {"llama": "<|end_of_text|>", "qwen2": "<|endoftext|>", "gemma3": "<eos>"}
    assert end == (turn_ends if chat_template else ends)[arch]
    assert encoded.weight == 0.5
    if chat_template:
        whole = tokenizer.apply_chat_template(
            [{"role": "user", "content": "何か"}, {"role": "assistant", "content": example.answer}],
            tokenize=False,
        )
        assert whole.startswith(tokenizer.decode(encoded.token_ids))


def test_encode_examples_longer_than_max_length_names_the_example(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model("llama", tmp_path / "m"))
    examples = [*make_examples(2), Example((Message("user", "x " * 200),), "y", "a")]
    with pytest.raises(InvalidInputError, match=r"example 2 .* tokens, more than max_length 200"):
        encode_examples(tokenizer, examples, WEIGHTS, max_length=200)


@given(
    examples=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 4),
)
def test_batch_indices_of_an_epoch_take_each_example_once(
    examples: int, batch_size: int, seed: int, epoch: int
) -> None:
    steps = steps_per_epoch(examples, batch_size)
    batches = [batch_indices(epoch * steps + i, examples, batch_size, seed) for i in range(steps)]
    assert sorted(i for batch in batches for i in batch) == list(range(examples))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_batch_indices_of_another_epoch_or_seed_differ() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        return [i for step in range(8) for i in batch_indices(epoch * 8 + step, 32, 4, seed)]

    assert order(0, 7) == order(0, 7)
    assert order(0, 7) != order(1, 7)
    assert order(0, 7) != order(0, 8)


def test_parse_examples_of_json_lines_gives_examples() -> None:
    line = json.dumps({"messages": [{"role": "user", "content": "é"}], "answer": "人", "group": "a"})
    assert (
        parse_examples(f"{line}\n\n{line}\n".encode(), WEIGHTS)
        == (Example((Message("user", "é"),), "人", "a"),) * 2
    )


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b'{"answer": 1}\n', "line 1"),
        (b"\nnot json\n", "line 2"),
        (b"[]\n", "line 1"),
        (b"", "no example"),
        (b'{"messages": [{"role": "user", "content": "x"}], "answer": "y", "group": "z"}', "group 'z'"),
    ],
)
def test_parse_examples_of_bad_lines_is_refused(data: bytes, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        parse_examples(data, WEIGHTS)
