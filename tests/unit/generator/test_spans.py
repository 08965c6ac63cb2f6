import json
from pathlib import Path

import pytest

from services.generator.adapters import Lease
from services.generator.engine_stats import UNBOUNDED, drop_unbounded
from services.generator.spans import RequestSpans
from services.generator.types import Completion, GenerateItem, LoraHandle, Prompt, Sampling, Score, ScoreItem
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.spans import recorded

PROMPT = Prompt(({"role": "user", "content": "a secret question"},))
ITEM = GenerateItem(PROMPT, Sampling(0.7, 0.9, 12, 5, ("\n",)))


@pytest.fixture
async def engine() -> FakeEngine:
    made = FakeEngine()
    await made.start()
    return made


async def test_chat_span_of_an_adapter_has_the_attributes_of_the_conventions(engine: FakeEngine) -> None:
    lease = Lease(LoraHandle("r-1-i1-abc", 1, Path("x")), "f" * 64)
    with recorded() as seen:
        with RequestSpans(engine, content=False).chat(ITEM, lease) as told:
            told(Completion("an answer", "length", 7, 12))
        span = seen.spans()[0]
    assert span.name == "chat r-1-i1-abc"
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "r-1-i1-abc",
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 12,
        "gen_ai.request.seed": 5,
        "gen_ai.request.stop_sequences": ("\n",),
        "gen_ai.response.model": "r-1-i1-abc",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 12,
        "valign.adapter.sha256": "f" * 64,
    }


async def test_chat_span_holds_texts_only_if_they_are_wanted(engine: FakeEngine) -> None:
    with recorded() as seen:
        for content in (False, True):
            with RequestSpans(engine, content=content).chat(ITEM, Lease()) as told:
                told(Completion("a secret answer", "stop", 7, 12))
        without, wanted = seen.spans()
    assert "secret" not in without.to_json()
    assert wanted.attributes is not None
    asked = json.loads(str(wanted.attributes["gen_ai.input.messages"]))
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "a secret question"}]}]
    said = json.loads(str(wanted.attributes["gen_ai.output.messages"]))
    assert said[0]["parts"][0]["content"] == "a secret answer"


async def test_score_span_of_the_base_model_names_it(engine: FakeEngine) -> None:
    with recorded() as seen:
        with RequestSpans(engine, content=True).score(ScoreItem(PROMPT, "x"), Lease()) as told:
            told(Score(-3.0, 2))
        span = seen.spans()[0]
    assert span.name == "score fake-model"
    assert span.attributes is not None
    assert span.attributes["valign.score.tokens"] == 2


async def test_spans_without_tracing_cost_nothing_and_record_nothing(engine: FakeEngine) -> None:
    with RequestSpans(engine, content=True).chat(ITEM, Lease()) as told:
        told(Completion("x", "stop", 1, 1))


def test_drop_unbounded_takes_the_metric_out_and_may_be_repeated() -> None:
    from prometheus_client import REGISTRY, Gauge

    Gauge(UNBOUNDED[0], "As vLLM has it.", ("running_lora_adapters",)).labels("a,b").set(1)
    drop_unbounded()
    drop_unbounded()
    assert UNBOUNDED[0] not in {family.name for family in REGISTRY.collect()}
