"""Spans of the HTTP face's requests, as a collector would get them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tests.contract.generator.test_http_face import Served, served_with
from tests.fakes.spans import Recorded, recorded

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with served_with(tmp_path) as made:
        yield made


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def only(seen: Recorded) -> ReadableSpan:
    """The one span, which ends a moment after its answer."""
    async with asyncio.timeout(5):
        while not seen.spans():
            await asyncio.sleep(0.01)
    (span,) = seen.spans()
    return span


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_under_a_public_name_has_one_span_with_all_that_is_known(
    served: Served, stream: bool
) -> None:
    sha256 = await served.load("a")
    served.route("a")
    asked: dict[str, Any] = {"temperature": 0.7, "top_p": 1, "max_tokens": 9, "seed": 5, "stop": ["secret"]}
    with recorded() as seen:
        answer = await served.chat(stream=stream, **asked)
        span = await only(seen)
    assert answer.status_code == 200
    assert (span.name, span.kind, span.status.status_code) == (
        "chat valign",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "valign",
        "gen_ai.response.model": "a",
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.seed": 5,
        **({"gen_ai.request.stream": True} if stream else {}),
        "gen_ai.usage.input_tokens": 6,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ("stop",),
        "http.response.status_code": 200,
        "valign.adapter.sha256": sha256,
        "valign.route": "valign",
    }
    for text in ("one", "three", "secret"):
        assert text not in span.to_json()


async def test_completion_by_the_base_model_is_named_by_the_conventions(served: Served) -> None:
    with recorded() as seen:
        body = {"model": "fake-model", "prompt": "a secret question", "max_completion_tokens": 4}
        assert (await served.http.post("/v1/completions", json=body)).status_code == 200
        span = await only(seen)
    assert span.name == "text_completion fake-model"
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "text_completion"
    assert found["gen_ai.response.model"] == "fake-model"
    assert found["gen_ai.request.max_tokens"] == 4
    assert "valign.adapter.sha256" not in found
    assert "secret" not in span.to_json()


async def test_trace_of_the_caller_is_continued_and_one_that_is_not_kept_is_not_told(served: Served) -> None:
    with recorded() as seen:
        await served.chat("fake-model", headers={"traceparent": TRACE})
        await served.chat("fake-model", headers={"traceparent": f"{TRACE[:-1]}0"})
        await served.chat("fake-model", headers={"traceparent": "no trace"})
        async with asyncio.timeout(5):
            while len(seen.spans()) < 2:
                await asyncio.sleep(0.01)
        first, other = seen.spans()
    assert first.context is not None
    assert f"{first.context.trace_id:032x}" == TRACE[3:35]
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == TRACE[36:52]
    assert other.parent is None


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b'{"model": "strange", "messages": []}', 404, "chat"),
        (b'{"model": "valign", "messages": []}', 503, "chat"),
        (b"{", 400, "chat"),
        (b'{"model": "fake-model", "n": 500, "messages": []}', 400, "chat"),
    ],
)
async def test_request_that_is_refused_has_a_span_with_its_status_and_without_a_strangers_name(
    served: Served, body: bytes, status: int, name: str
) -> None:
    with recorded() as seen:
        answer = await served.http.post("/v1/chat/completions", content=body)
        span = await only(seen)
    assert answer.status_code == status
    assert span.name == name
    found = attributes(span)
    assert (found["error.type"], found["http.response.status_code"]) == (str(status), status)
    assert span.status.status_code is StatusCode.ERROR
    assert "gen_ai.response.model" not in found
    if body != b"{":
        assert found["gen_ai.request.model"] == json.loads(body)["model"]


async def test_fault_of_the_server_is_told_by_its_status_and_not_by_its_words(served: Served) -> None:
    served.app.raises = RuntimeError("secret inner words")
    with recorded() as seen:
        assert (await served.chat("fake-model")).status_code == 500
        span = await only(seen)
    assert span.name == "chat fake-model"
    assert attributes(span)["error.type"] == "500"
    assert "secret" not in span.to_json()


async def test_stream_that_breaks_after_its_begin_is_told_by_what_broke_it(served: Served) -> None:
    served.app.breaks = ConnectionError("secret inner words")
    with recorded() as seen:
        assert (await served.chat("fake-model", stream=True)).status_code == 200
        span = await only(seen)
    found = attributes(span)
    assert (found["http.response.status_code"], found["error.type"]) == (200, "ConnectionError")
    assert "gen_ai.usage.output_tokens" not in found
    assert span.status.status_code is StatusCode.ERROR
    assert "secret" not in span.to_json()


async def test_caller_who_leaves_is_told_as_in_the_metrics(served: Served) -> None:
    served.app.gate.clear()
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "x y"}], "stream": True}
    with recorded() as seen:
        async with served.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
        span = await only(seen)
    assert attributes(span)["error.type"] == "499"


async def test_requests_for_no_text_have_no_span(served: Served) -> None:
    with recorded() as seen:
        for path in ("/v1/models", "/health", "/nothing"):
            await served.http.get(path)
        await served.http.post("/tokenize", json={"model": "fake-model", "prompt": "x"})
        await served.chat("fake-model")
        assert (await only(seen)).name == "chat fake-model"


async def test_request_without_tracing_is_answered_and_leaves_no_span(served: Served) -> None:
    assert (await served.chat("fake-model", headers={"traceparent": TRACE})).status_code == 200
    with recorded() as seen:
        assert seen.spans() == []
