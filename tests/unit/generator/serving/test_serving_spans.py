"""What a request's span says, whatever the caller wrote into the body."""

import json
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from services.generator.adapters import Lease
from services.generator.service import Hold
from services.generator.serving.exchange import Exchange, Part
from services.generator.serving.spans import Ending, request_span, tell
from tests.fakes.spans import recorded


def told(body: dict[str, Any], *parts: Part, **of: Any) -> dict[str, Any]:
    """The attributes of a request's span, which is sent as a collector gets it."""
    exchange = Exchange("chat", "m", "", Hold(Lease(), lambda: None), list(parts))
    ending = Ending(body, exchange, "base", of.get("status", 200), of.get("left", False))
    with recorded() as seen:
        with request_span("chat", {}) as span:
            tell(span, "chat", ending)
        (ended,) = seen.spans()
    assert encode_spans([ended]).SerializeToString()
    return dict(ended.attributes or {})


def asked(**fields: Any) -> dict[str, Any]:
    """The parameters that stand in the span of a body; it goes through JSON, as a caller sends it."""
    body = json.loads(json.dumps({"model": "m", **fields}))
    prefix = "gen_ai.request."
    found = told(body)
    return {name.removeprefix(prefix): found[name] for name in found if name.startswith(prefix)}


def test_parameters_that_are_given_stand_in_the_span() -> None:
    found = asked(
        temperature=0,
        top_p=0.5,
        top_k=7,
        max_tokens=3,
        max_completion_tokens=4,
        seed=-1,
        n=2,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        stream=True,
    )
    assert found == {
        "model": "m",
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 7,
        "max_tokens": 4,
        "seed": -1,
        "choice.count": 2,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.2,
        "stream": True,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 2**63, "temperature": 10**400, "max_tokens": -(2**64)},
        {"seed": True, "temperature": False, "n": "3", "stream": "yes"},
        {"temperature": float("inf"), "top_p": float("nan"), "top_k": 1.5},
        {"seed": [1], "temperature": {"a": "a secret"}, "max_tokens": "a secret"},
        {"stop": "a secret", "user": "a secret", "messages": [{"role": "user", "content": "a secret"}]},
    ],
)
def test_parameters_that_are_none_or_text_do_not_stand_in_the_span(fields: dict[str, Any]) -> None:
    assert asked(**fields) == {"model": "m"}


def test_name_of_a_model_is_cut_and_loses_no_batch() -> None:
    assert asked(model="\ud800" + "x" * 500)["model"] == "?" + "x" * 199


def test_tokens_of_several_prompts_add_up_and_reasons_keep_their_order() -> None:
    parts = (Part(3, 4, {1: "length", 0: "stop"}, ended=True), Part(5, 6, {0: "length"}, ended=True))
    found = told({"model": "m"}, *parts)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (8, 10)
    assert found["gen_ai.response.finish_reasons"] == ("stop", "length", "length")


def test_tokens_that_are_not_known_of_every_prompt_are_not_told() -> None:
    found = told({"model": "m"}, Part(3, 4, {0: "stop"}, ended=True), Part(5, 1))
    assert not any(name.startswith(("gen_ai.usage", "gen_ai.response.finish")) for name in found)


@pytest.mark.parametrize(
    ("of", "part", "error"),
    [
        ({}, Part(ended=True), None),
        ({}, Part(error="EngineDeadError"), "EngineDeadError"),
        ({"status": 503}, Part(error="EngineDeadError"), "503"),
        ({"status": 400}, Part(error="VLLMValidationError"), "400"),
        ({"left": True}, Part(), "499"),
        ({"status": None, "left": True}, Part(), "499"),
    ],
)
def test_error_is_the_status_or_what_broke_a_stream(
    of: dict[str, Any], part: Part, error: str | None
) -> None:
    assert told({"model": "m"}, part, **of).get("error.type") == error
