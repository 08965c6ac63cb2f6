"""The endpoint client against a real HTTP server that misbehaves as endpoints do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from services.common.errors import (
    DeadlineError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    UnauthenticatedError,
    ValignError,
)
from services.orchestrator.clients.openai import OpenAIGenerator
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, Completion, GenerationItem, Sampling, ScoreItem
from services.orchestrator.study_sections import EndpointSettings
from tests.fakes.fake_openai import KEY, MODEL, FakeOpenAI, Fault
from tests.fakes.servers import http_server


@pytest.fixture
def fake() -> FakeOpenAI:
    return FakeOpenAI()


@pytest.fixture
async def url(fake: FakeOpenAI) -> AsyncIterator[str]:
    async with http_server(fake.app()) as base:
        yield f"{base}/v1"


@asynccontextmanager
async def client(
    url: str, key: str | None = None, told: Callable[[str, str], None] | None = None, **settings: Any
) -> AsyncIterator[OpenAIGenerator]:
    given = EndpointSettings(**{"url": url, "model": MODEL, "max_attempts": 3, "timeout_s": 5.0, **settings})
    made = OpenAIGenerator(
        given, SecretStr(key) if key else None, told or (lambda service, why: None), first_wait_s=0.01
    )
    try:
        yield made
    finally:
        await made.aclose()


def items(count: int, prefill: str = "", text: str = "P1") -> list[GenerationItem]:
    prompt = Prompt((Message("system", "be brief"), Message("user", text)), prefill)
    return [
        GenerationItem(f"t/{number}/0", prompt, Sampling(0.7, 0.95, 96, seed=2**63 - 1 - number))
        for number in range(count)
    ]


async def drawn(made: OpenAIGenerator, count: int = 1, **options: Any) -> list[Completion]:
    return [completion async for completion in made.generate(items(count, **options))]


async def failing(url: str, **settings: Any) -> ValignError:
    with pytest.raises(ValignError) as caught:
        async with client(url, **settings) as made:
            await drawn(made)
    return caught.value


async def test_generate_many_each_comes_back_once_and_never_too_many_at_once(
    fake: FakeOpenAI, url: str
) -> None:
    fake.latency_s = 0.005
    async with client(url, requests_at_once=5) as made:
        found = await drawn(made, 60)
    assert sorted(one.key for one in found) == sorted(item.key for item in items(60))
    assert len(fake.asked) == 60
    assert 2 <= fake.most_at_once <= 5
    assert all(one.text.startswith("Systems ") and one.finish_reason == "stop" for one in found)
    assert (found[0].prompt_tokens, found[0].completion_tokens, found[0].adapter_sha256) == (9, 12, "")


async def test_generate_sends_the_prompt_sampling_and_seed_and_no_begun_answer(
    fake: FakeOpenAI, url: str
) -> None:
    async with client(url) as made:
        await drawn(made, prefill="You shall")
    assert fake.asked == [
        {
            "model": MODEL,
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "P1"}],
            "temperature": 0.7,
            "top_p": 0.95,
            "max_tokens": 96,
            "seed": 2**31 - 1,
        }
    ]
    async with client(url, send_seed=False) as made:
        await drawn(made)
    assert "seed" not in fake.asked[-1]


async def test_generate_results_come_as_they_end(fake: FakeOpenAI, url: str) -> None:
    fake.latency_s = 0.05
    async with client(url, requests_at_once=1) as made:
        stream = made.generate(items(20))
        await anext(stream)
        assert len(fake.asked) <= 3
        await stream.aclose()
        await asyncio.sleep(0.15)
        asked = len(fake.asked)
        await asyncio.sleep(0.15)
    assert len(fake.asked) == asked <= 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
async def test_generate_passing_failure_is_tried_again(fake: FakeOpenAI, url: str, status: int) -> None:
    told: list[tuple[str, str]] = []
    fake.faults = [Fault(status, body={"error": {"message": "busy"}})] * 2
    async with client(url, told=lambda *what: told.append(what)) as made:
        assert len(await drawn(made)) == 1
        assert made.observations()["retries"] == 2
    assert len(fake.asked) == 3
    assert told[0][0] == "endpoint"
    assert f"answered {status}: busy" in told[0][1]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, OverloadedError), (500, NotReadyError), (503, NotReadyError), (504, DeadlineError)],
)
async def test_generate_failure_that_stays_ends_after_max_attempts(
    fake: FakeOpenAI, url: str, status: int, error: type[ValignError]
) -> None:
    fake.always = Fault(status, body={})
    raised = await failing(url, max_attempts=2)
    assert type(raised) is error
    assert "endpoint.max_attempts" in raised.message
    assert len(fake.asked) == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_generate_retry_after_is_waited_for_by_every_request(
    fake: FakeOpenAI, url: str, form: str
) -> None:
    # A date has whole seconds: two of them leave at least one.
    value = "0.6" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2))
    fake.faults = [Fault(429, {"retry-after": value}, {"error": {"message": "slow down"}})]
    began = time.monotonic()
    async with client(url, requests_at_once=1) as made:
        await drawn(made, 3)
    assert time.monotonic() - began >= 0.6
    assert len(fake.asked) == 4


async def test_generate_retry_after_holds_the_other_workers_too(fake: FakeOpenAI, url: str) -> None:
    fake.latency_s = 0.02
    fake.faults = [Fault(429, {"retry-after": "0.5"}, {})]
    began = time.monotonic()
    async with client(url, requests_at_once=2) as made:
        stream = made.generate(items(12))
        times = [time.monotonic() - began async for _ in stream]
    # One was under way beside the refused one; all others waited.
    assert sum(one < 0.5 for one in times) <= 2


async def test_generate_endpoint_that_bears_one_at_a_time_serves_all_in_the_end(
    fake: FakeOpenAI, url: str
) -> None:
    fake.latency_s, fake.bears = 0.01, 1
    async with client(url, requests_at_once=16, max_attempts=6) as made:
        assert len(await drawn(made, 40)) == 40


async def test_generate_retry_after_of_hours_is_not_waited_for(fake: FakeOpenAI, url: str) -> None:
    fake.always = Fault(429, {"retry-after": "7200"}, {"error": {"message": "daily limit"}})
    raised = await failing(url)
    assert isinstance(raised, OverloadedError)
    assert "7200 s" in raised.message
    assert "run it again later" in raised.message
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        (401, UnauthenticatedError, "VALIGN_ORCHESTRATOR_ENDPOINT_KEYS"),
        (402, PreconditionError, "credit"),
        (403, ForbiddenError, "may not use model"),
        (404, NotFoundError, "endpoint.url"),
        (400, InvalidInputError, "endpoint.model"),
        (422, InvalidInputError, "endpoint.model"),
        (418, PreconditionError, "endpoint.url"),
    ],
)
async def test_generate_lasting_failure_is_not_tried_again_and_names_host_and_remedy(
    fake: FakeOpenAI, url: str, status: int, error: type[ValignError], remedy: str
) -> None:
    fake.always = Fault(status, body={"error": {"message": "no"}})
    raised = await failing(url)
    assert type(raised) is error
    assert remedy in raised.message
    assert httpx.URL(url).netloc.decode() in raised.message
    assert len(fake.asked) == 1


async def test_generate_no_credit_left_is_not_waited_for(fake: FakeOpenAI, url: str) -> None:
    fake.always = Fault(429, body={"error": {"code": "insufficient_quota", "message": "check your plan"}})
    raised = await failing(url)
    assert isinstance(raised, PreconditionError)
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>login</html>",
        b"",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"text": "x"}]}',
        b'{"choices": [{"message": "x"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
async def test_generate_malformed_body_is_tried_again_then_told(
    fake: FakeOpenAI, url: str, body: bytes
) -> None:
    fake.always = Fault(200, body=body)
    raised = await failing(url, max_attempts=2)
    assert isinstance(raised, PreconditionError)
    assert "endpoint.url" in raised.message
    assert len(fake.asked) == 2


async def test_generate_answer_without_content_is_an_empty_text(fake: FakeOpenAI, url: str) -> None:
    for message, text in (
        ({"content": None}, ""),
        ({"content": None, "refusal": "I can't."}, "I can't."),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
    ):
        fake.always = Fault(200, body={"choices": [{"message": message, "finish_reason": None}]})
        async with client(url) as made:
            (found,) = await drawn(made)
        assert (found.text, found.finish_reason, found.error_code) == (text, "stop", "")


async def test_generate_slow_endpoint_times_out(fake: FakeOpenAI, url: str) -> None:
    fake.latency_s = 2.0
    raised = await failing(url, timeout_s=0.1, max_attempts=2)
    assert isinstance(raised, DeadlineError)
    assert "0.1 s" in raised.message


async def test_generate_nothing_listens_is_not_ready() -> None:
    raised = await failing("http://127.0.0.1:9/v1", max_attempts=2)
    assert isinstance(raised, NotReadyError)
    assert "127.0.0.1:9" in raised.message


async def test_generate_unknown_parameter_is_left_out_and_told(fake: FakeOpenAI, url: str) -> None:
    fake.unsupported = {
        "max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "temperature": "Unsupported value: 'temperature' does not support 0.7 with this model.",
    }
    async with client(url, max_attempts=1) as made:
        assert len(await drawn(made, 5)) == 5
        assert set(made.observations()["left_out"]) == {"max_tokens", "temperature"}
    assert fake.asked[-1] == {
        "model": MODEL,
        "messages": fake.asked[0]["messages"],
        "top_p": 0.95,
        "max_completion_tokens": 96,
        "seed": fake.asked[-1]["seed"],
    }


async def test_generate_value_out_of_range_is_an_error(fake: FakeOpenAI, url: str) -> None:
    message = "max_tokens is too large: this model supports at most 64 completion tokens"
    fake.always = Fault(
        400, body={"error": {"message": message, "param": "max_tokens", "code": "invalid_value"}}
    )
    assert isinstance(await failing(url), InvalidInputError)
    assert len(fake.asked) == 1


async def test_generate_filtered_prompt_is_an_item_without_answer(fake: FakeOpenAI, url: str) -> None:
    fake.filtered = "covet"
    async with client(url) as made:
        (found,) = await drawn(made, text="P2 covet")
        assert (found.text, found.error_code, found.finish_reason) == ("", "INVALID_INPUT", "content_filter")
        assert len(await drawn(made, 3)) == 3


async def test_generate_redirect_is_not_followed(fake: FakeOpenAI, url: str) -> None:
    other = FakeOpenAI()
    async with http_server(other.app()) as elsewhere:
        location = f"{elsewhere}/v1/chat/completions"
        for status in (301, 302, 307, 308):
            fake.always = Fault(status, {"location": location}, {})
            raised = await failing(url, key=KEY)
            assert isinstance(raised, PreconditionError)
            assert httpx.URL(elsewhere).netloc.decode() in raised.message
    assert other.asked == []


async def test_key_is_sent_to_its_host_and_told_to_nobody(fake: FakeOpenAI, url: str) -> None:
    fake.key = KEY
    async with client(url, key=KEY) as made:
        await drawn(made)
        assert KEY not in repr(made.observations()) + repr(await made.describe()) + repr(vars(made))
    assert fake.headers[-1]["authorization"] == f"Bearer {KEY}"
    wrong = KEY + "-wrong"
    with structlog.testing.capture_logs() as logs:
        raised = await failing(url, key=wrong)
    # The endpoint itself repeats the key in its message.
    assert isinstance(raised, UnauthenticatedError)
    assert "Incorrect API key" in raised.message
    assert wrong not in raised.message + repr(raised.details) + repr(logs) + repr(raised.__cause__)


async def test_key_missing_is_unauthenticated_and_sends_no_header(fake: FakeOpenAI, url: str) -> None:
    fake.key = KEY
    assert isinstance(await failing(url), UnauthenticatedError)
    assert "authorization" not in fake.headers[-1]


async def test_honours_seed_three_ways(fake: FakeOpenAI, url: str) -> None:
    (item,) = items(1)
    async with client(url) as made:
        assert await made.honours_seed(item) is True
        fake.ignores_seed = True
        assert await made.honours_seed(item) is False
        fake.always = Fault(200, body={"choices": [{"message": {"content": "the same"}}]})
        assert await made.honours_seed(item) is None
    fake.always = None
    fake.unsupported = {"seed": "Unknown parameter: 'seed'"}
    async with client(url) as made:
        assert await made.honours_seed(item) is False
    asked = len(fake.asked)
    async with client(url, send_seed=False) as made:
        assert await made.honours_seed(item) is None
    assert len(fake.asked) == asked + 1


async def test_describe_is_of_address_and_name_and_asks_nothing(fake: FakeOpenAI, url: str) -> None:
    async with client(url) as one, client(url + "/") as same, client(url, model="other") as other:
        info = await one.describe()
        assert (info.model, info.device, info.max_lora_rank) == (MODEL, "remote", 0)
        assert info.fingerprint == (await same.describe()).fingerprint
        assert info.fingerprint != (await other.describe()).fingerprint
    assert fake.asked == []


async def test_observations_tell_fingerprints_and_models(fake: FakeOpenAI, url: str) -> None:
    fake.system_fingerprints = ["fp_1", "fp_2"]
    async with client(url) as made:
        await drawn(made, 4)
        seen = made.observations()
    assert (seen["system_fingerprints"], seen["models"], seen["requests"]) == (["fp_1", "fp_2"], [MODEL], 4)


async def test_adapters_and_scores_are_refused_with_the_reason(url: str) -> None:
    async with client(url) as made:
        assert await made.list_adapters() == []
        await made.unload_adapter("a")
        with pytest.raises(PreconditionError, match="endpoint of somebody else's"):
            await made.load_adapter(AdapterRef("a", "1" * 64, "file:///a"))
        with pytest.raises(PreconditionError, match="log-probability"):
            [one async for one in made.score([ScoreItem("k", Prompt(()), "x")])]
        with pytest.raises(PreconditionError):
            [one async for one in made.generate(items(1), "an-adapter")]
