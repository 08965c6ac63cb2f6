"""Protobuf to types: the ranges that the contract states."""

from typing import Any

import pytest

from services.common.errors import InvalidInputError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.generator import convert
from services.generator.service import Outcome
from services.generator.types import Completion, GenerateItem, Score

PROMPT = pb.Prompt(messages=[pb.Message(role="user", content="Hi")], assistant_prefill="You shall")


def test_generate_item_from_full_message_keeps_everything() -> None:
    message = pb.GenerateItem(
        id="a",
        prompt=PROMPT,
        sampling=pb.Sampling(temperature=0.5, top_p=0.25, max_tokens=7, seed=2**64 - 1, stop=["\n"]),
    )
    asked = convert.generate_item_from(message)
    assert asked.id == "a"
    assert isinstance(asked.item, GenerateItem)
    assert asked.item.prompt.messages == ({"role": "user", "content": "Hi"},)
    assert asked.item.prompt.prefill == "You shall"
    sampling = asked.item.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.5, 0.25, 7)
    assert (sampling.seed, sampling.stop) == (2**64 - 1, ("\n",))


def test_sampling_from_defaults_reads_top_p_as_one_and_no_seed() -> None:
    sampling = convert.sampling_from(pb.Sampling(max_tokens=1))
    assert (sampling.top_p, sampling.seed, sampling.temperature) == (1.0, None, 0.0)


def test_sampling_from_seed_zero_is_a_seed() -> None:
    assert convert.sampling_from(pb.Sampling(max_tokens=1, seed=0)).seed == 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "top_p": 1.5}, "top_p"),
        ({"max_tokens": 1, "top_p": float("nan")}, "top_p"),
        ({"max_tokens": 1, "temperature": -1.0}, "temperature"),
        ({"max_tokens": 1, "temperature": float("nan")}, "temperature"),
        ({"max_tokens": 1, "stop": [""]}, "stop"),
    ],
)
def test_sampling_from_bad_number_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        convert.sampling_from(pb.Sampling(**fields))


def test_prompt_from_no_messages_refused() -> None:
    with pytest.raises(InvalidInputError, match="no messages"):
        convert.prompt_from(pb.Prompt())


def test_prompt_from_unknown_role_refused() -> None:
    with pytest.raises(InvalidInputError, match="'robot'"):
        convert.prompt_from(pb.Prompt(messages=[pb.Message(role="robot")]))


def test_score_item_from_empty_continuation_is_item_error() -> None:
    asked = convert.score_item_from(pb.ScoreItem(id="s", prompt=PROMPT))
    assert isinstance(asked.item, InvalidInputError)


def test_generate_response_error_has_code_and_no_text() -> None:
    error = InvalidInputError("too long")
    response = convert.generate_response(Outcome("a", error, "ad", "sha"))
    assert (response.error.code, response.error.message, response.text) == ("INVALID_INPUT", "too long", "")
    assert response.adapter == "ad"


def test_responses_success_have_no_error_field() -> None:
    done = convert.generate_response(Outcome("a", Completion("t", "stop", 3, 1), "ad", "sha"))
    assert (done.text, done.finish_reason, done.prompt_tokens, done.completion_tokens) == ("t", "stop", 3, 1)
    assert done.adapter_sha256 == "sha"
    assert not done.HasField("error")
    scored = convert.score_response(Outcome("a", Score(-1.5, 2), "ad", ""))
    assert (scored.logprob, scored.tokens, scored.HasField("error")) == (-1.5, 2, False)
