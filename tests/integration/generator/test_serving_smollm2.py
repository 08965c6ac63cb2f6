"""The HTTP face on real vLLM, asked by OpenAI's client: promotions under load, faults, what is not there."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest

from services.common.pb.generator.v1 import generator_pb2 as pb
from services.generator.serving.face import PASSED
from tests.fakes.collector import Collector, SeenSpan
from tests.integration.generator.process import ROOT, GeneratorProcess, generate, item, stub_of

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

BASE = "SmolLM2-135M-Instruct"
GREEDY = "Name three colours."
GUIDE = ROOT / "docs" / "guides" / "serving.md"

_LIST_ROUTES = """
import json, logging
from services.generator.settings import GeneratorSettings, apply_engine_environment
apply_engine_environment(GeneratorSettings(model="x"))
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
app = build_app(make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", "x"]), ("generate",), None)
found = []
def walk(routes):
    for route in routes:
        inner = getattr(route, "router", None) or getattr(route, "original_router", None)
        if hasattr(route, "path"):
            found.extend((m, route.path) for m in sorted(getattr(route, "methods", None) or ["GET"]))
        else:
            walk(inner.routes)
walk(app.routes)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def adapters(service: GeneratorProcess) -> dict[str, dict[str, str]]:
    return {name: service.make_adapter(name, seed, 8) for seed, name in ((21, "first"), (22, "second"))}


@asynccontextmanager
async def client_of(service: GeneratorProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, told to try nothing twice."""
    async with openai.AsyncOpenAI(
        base_url=f"{service.http}/v1", api_key="none", max_retries=0, timeout=120
    ) as client:
        yield client


async def set_route(stub: Any, version: int, **fields: Any) -> None:
    await stub.SetRoute(
        pb.SetRouteRequest(route=pb.Route(name="valign", version=version, **fields)), timeout=20
    )


async def version_above(stub: Any) -> int:
    """A version that the route does not have yet."""
    try:
        answer = await stub.GetRoute(pb.GetRouteRequest(name="valign"), timeout=10)
    except Exception:
        return 1
    return int(answer.route.version) + 1


async def streamed(client: openai.AsyncOpenAI, model: str, text: str, **fields: Any) -> tuple[str, str, str]:
    """Adapter header, text and finish reason of one stream."""
    fields = {"max_tokens": 16, "temperature": 0.9, **fields}
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": text}], stream=True, **fields
    )
    parts, finish = [], ""
    async for chunk in await _parsed(raw):
        assert chunk.model == model
        parts.append(chunk.choices[0].delta.content or "")
        finish = chunk.choices[0].finish_reason or finish
    return raw.headers["x-valign-adapter"], "".join(parts), finish


async def _parsed(raw: Any) -> Any:
    parsed = raw.parse()
    return await parsed if asyncio.iscoroutine(parsed) else parsed


@dataclass
class Load:
    """Streams from the public name without a pause; what each was answered by, and when it began."""

    answered: list[tuple[float, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: bool = False

    async def worker(self, client: openai.AsyncOpenAI, number: int) -> None:
        turn = 0
        while not self.stop:
            turn += 1
            began = time.monotonic()
            try:
                adapter, _, finish = await streamed(
                    client, "valign", f"Tell me story {number}.{turn}.", seed=turn
                )
                assert finish in ("stop", "length")
            except Exception as error:
                self.failed.append(repr(error))
                return
            else:
                self.answered.append((began, adapter))

    @asynccontextmanager
    async def running(self, client: openai.AsyncOpenAI, workers: int) -> AsyncIterator[None]:
        """Under load in the block; what is open at its end is answered."""
        tasks = [asyncio.create_task(self.worker(client, number)) for number in range(workers)]
        try:
            yield
            self.stop = True
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def until(self, count: int, adapter: str, since: float) -> None:
        """Wait for so many answers of an adapter to requests that began after ``since``."""
        while sum(name == adapter and began > since for began, name in self.answered) < count:
            assert not self.failed, self.failed
            await asyncio.sleep(0.05)


async def test_promotion_under_load_fails_no_stream_and_changes_the_header(
    service: GeneratorProcess, adapters: dict[str, dict[str, str]]
) -> None:
    async with stub_of(service) as stub, client_of(service) as client:
        for adapter in adapters.values():
            await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)
        own = {
            name: (await generate(stub, [item("x", GREEDY)], adapter=name))["x"].text
            for name in ("", *adapters)
        }
        assert len(set(own.values())) == 3
        # What vLLM's server imports must not silence the service's own log.
        assert "adapter.loaded" in service.log_tail()
        version = await version_above(stub)
        await set_route(stub, version, adapter="first")
        greedy = {"temperature": 0.0, "max_tokens": 16}
        assert (await streamed(client, "valign", GREEDY, **greedy))[:2] == ("first", own["first"])
        assert (await streamed(client, "second", GREEDY, **greedy))[:2] == ("second", own["second"])
        assert (await streamed(client, BASE, GREEDY, **greedy))[:2] == ("base", own[""])

        load = Load()
        async with load.running(client, workers=4):
            await load.until(6, "first", 0)
            canary = time.monotonic()
            await set_route(stub, version + 1, adapter="first", canary_adapter="second", canary_share=0.5)
            await load.until(3, "first", canary)
            await load.until(3, "second", canary)
            await set_route(stub, version + 2, adapter="second")
            promoted = time.monotonic()
            # What is in flight on it ends on it; the answer says how many that were.
            unloaded = await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="first"), timeout=120)
            await load.until(8, "second", promoted)

        assert load.failed == []
        assert any(name == "first" for began, name in load.answered if began < canary)
        assert {name for began, name in load.answered if began > promoted} == {"second"}
        assert unloaded.drained >= 0
        names = [entry.name for entry in (await stub.ListAdapters(pb.ListAdaptersRequest())).adapters]
        assert names == ["second"]
        assert (await streamed(client, "valign", GREEDY, **greedy))[:2] == ("second", own["second"])
        models = [model.id async for model in client.models.list()]
        assert models == ["valign", BASE, "second"]
        with pytest.raises(openai.NotFoundError):
            await streamed(client, "first", GREEDY)
        await set_route(stub, version + 3)
        assert (await streamed(client, "valign", GREEDY, **greedy))[:2] == ("base", own[""])
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="second"), timeout=60)


async def test_callers_who_leave_and_an_unload_at_once_leave_the_engine_well(
    service: GeneratorProcess, adapters: dict[str, dict[str, str]]
) -> None:
    body = {
        "model": "first",
        "messages": [{"role": "user", "content": "Tell me a long story."}],
        "max_tokens": 300,
        "ignore_eos": True,
    }
    async with stub_of(service) as stub, httpx.AsyncClient(base_url=service.http, timeout=60) as http:
        await stub.LoadAdapter(pb.LoadAdapterRequest(**adapters["first"]), timeout=120)

        async def leave(number: int) -> None:
            if number % 2:
                with pytest.raises(httpx.ReadTimeout):
                    await http.post("/v1/chat/completions", json=body, timeout=httpx.Timeout(30, read=0.5))
                return
            async with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
                async for _ in answer.aiter_bytes():
                    return

        leaving = [asyncio.create_task(leave(number)) for number in range(8)]
        await asyncio.sleep(0.6)
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="first"), timeout=30)
        await asyncio.gather(*leaving)
        assert not (await stub.ListAdapters(pb.ListAdaptersRequest(), timeout=10)).adapters
        assert (await generate(stub, [item("x", "Hello")]))["x"].text
        assert (await http.get("/health")).status_code == 200


async def test_only_what_is_listed_of_vllm_s_routes_is_there(service: GeneratorProcess) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_ROUTES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    routes = {tuple(pair) for pair in json.loads(done.stdout.splitlines()[-1])}
    assert set(PASSED) < routes
    assert ("POST", "/inference/v1/generate") in routes
    ours = {("GET", "/v1/models"), ("GET", "/health")}
    async with httpx.AsyncClient(base_url=service.http, timeout=20) as http:
        for method, path in sorted(routes - set(PASSED) - ours):
            answer = await http.request(method, path, json={"model": BASE})
            assert answer.status_code == 404, f"{method} {path}"
            if method != "HEAD":
                assert answer.json()["error"]["type"] == "NotFoundError"
        for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/collective_rpc"):
            assert (await http.post(path, json={})).status_code == 404


async def test_requests_that_are_wrong_are_told_so_and_seeds_harm_nothing(service: GeneratorProcess) -> None:
    async with client_of(service) as client:

        async def ask(text: str = "Hello", **fields: Any) -> Any:
            return await client.chat.completions.create(
                model=BASE, messages=[{"role": "user", "content": text}], **{"max_tokens": 8, **fields}
            )

        with pytest.raises(openai.BadRequestError, match="512"):
            await ask("word " * 600)
        with pytest.raises(openai.BadRequestError, match="512"):
            await ask(max_tokens=5000)
        with pytest.raises(openai.BadRequestError):
            await ask(temperature=-1)
        with pytest.raises(openai.NotFoundError):
            await client.completions.create(model="/etc/passwd", prompt="x")
        with pytest.raises(openai.BadRequestError, match="chat template"):
            await ask(extra_body={"chat_template": "{{ 1 }}"})
        # Longer than a part of a split prefill would be.
        long = "word " * 400 + "Tell me a story."
        begun = {"temperature": 0.9, "extra_body": {"min_tokens": 8, "ignore_eos": True}}
        seeded = await asyncio.gather(*(ask(long, seed=n % 2, **begun) for n in range(8)))
        assert len({answer.choices[0].message.content for answer in seeded}) == 2
        many = await ask(n=3, seed=5, temperature=0.9)
        assert len(many.choices) == 3
        plain = await client.completions.create(model=BASE, prompt=["One", "Two"], max_tokens=4)
        assert (plain.model, len(plain.choices)) == (BASE, 2)
        found = await client.models.retrieve(BASE)
        assert found.id == BASE
    async with httpx.AsyncClient(base_url=service.http, timeout=20) as http:
        tokens = (await http.post("/tokenize", json={"model": BASE, "prompt": "Hello you"})).json()["tokens"]
        back = await http.post("/detokenize", json={"model": BASE, "tokens": tokens})
        assert back.json()["prompt"] == "Hello you"


async def test_streams_and_whole_answers_have_spans_with_the_tokens_that_vllm_counts(
    service: GeneratorProcess, traces: Collector
) -> None:
    def traced(number: int) -> dict[str, str]:
        return {"traceparent": f"00-{number:032x}-00000000000000aa-01"}

    def body(**fields: Any) -> dict[str, Any]:
        asked = {"model": BASE, "messages": [{"role": "user", "content": GREEDY}], "max_tokens": 6}
        return {**asked, "n": 2, "ignore_eos": True, **fields}

    async with httpx.AsyncClient(base_url=service.http, timeout=60) as http:
        path = "/v1/chat/completions"
        whole = await http.post(path, json=body(), headers=traced(1))
        stream = {"stream": True, "stream_options": {"include_usage": True}}
        streamed = await http.post(path, json=body(**stream), headers=traced(2))
        prompts = {"model": BASE, "prompt": ["One", "Two and three"], "max_tokens": 4, "ignore_eos": True}
        plain = await http.post("/v1/completions", json=prompts, headers=traced(3))
        refused = await http.post(path, json=body(temperature=-1), headers=traced(4))
    assert refused.status_code == 400
    last = json.loads(streamed.text.splitlines()[-4].removeprefix("data: "))
    found: dict[int, SeenSpan] = {}
    async with asyncio.timeout(20):
        while len(found) < 4:
            await asyncio.sleep(0.2)
            found = {int(span.trace_id, 16): span for span in traces.spans if span.parent_id.endswith("aa")}
    for number, usage in ((1, whole.json()["usage"]), (2, last["usage"]), (3, plain.json()["usage"])):
        told = found[number].attributes
        assert told["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
        assert told["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
        assert told["gen_ai.response.finish_reasons"] == ["length", "length"]
        assert told["gen_ai.response.model"] == BASE
    assert [found[number].name.split()[0] for number in (1, 2, 3)] == ["chat", "chat", "text_completion"]
    assert found[4].attributes["error.type"] == "400"


async def test_traffic_of_the_public_name_is_sampled_while_it_is_watched(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub, client_of(service) as client:
        await set_route(stub, await version_above(stub))
        call = stub.SampleTraffic(pb.SampleTrafficRequest(route="valign", rate=1.0), timeout=60)
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.3)
        _, text, finish = await streamed(client, "valign", "Hello", max_tokens=8)
        seen = await asyncio.wait_for(reading, 20)
        call.cancel()
    assert (seen.text, seen.finish_reason, seen.adapter, seen.served) == (text, finish, "", 1)
    assert [(turn.role, turn.content) for turn in seen.messages] == [("user", "Hello")]


async def test_examples_of_the_guide_work(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        await set_route(stub, await version_above(stub))
    blocks = re.findall(r"```(python|sh)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    run = [(kind, text) for kind, text in blocks if "127.0.0.1:8100" in text]
    assert {kind for kind, _ in run} == {"python", "sh"}
    for kind, text in run:
        text = text.replace("http://127.0.0.1:8100", service.http)
        command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euc", text]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "error" not in done.stdout, done.stdout


async def test_killed_engine_answers_503_and_serves_again_by_itself(
    service: GeneratorProcess, adapters: dict[str, dict[str, str]]
) -> None:
    async with stub_of(service) as stub, httpx.AsyncClient(base_url=service.http, timeout=60) as http:
        await stub.LoadAdapter(pb.LoadAdapterRequest(**adapters["second"]), timeout=120)
        version = await version_above(stub)
        await set_route(stub, version, adapter="second")
        body = {"model": "valign", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400}
        asked = [
            asyncio.create_task(http.post("/v1/chat/completions", json={**body, "ignore_eos": True}))
            for _ in range(3)
        ]
        await asyncio.sleep(0.5)
        os.kill(service.engine_core_pid(), signal.SIGKILL)
        for answer in await asyncio.gather(*asked):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["error"]["type"] == "ServiceUnavailableError"
        assert (await http.get("/health")).status_code == 503
        deadline = time.monotonic() + 180
        while (await http.get("/health")).status_code != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        body["max_tokens"] = 8
        # Never the base model's text in an adapter's place.
        assert (await http.post("/v1/chat/completions", json=body)).status_code == 503
        answer = await http.post("/v1/chat/completions", json={**body, "model": BASE})
        assert answer.status_code == 200, answer.text
        await stub.LoadAdapter(pb.LoadAdapterRequest(**adapters["second"]), timeout=120)
        await set_route(stub, version, adapter="second")
        answer = await http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.headers["x-valign-adapter"]) == (200, "second")
        await set_route(stub, version + 1)
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="second"), timeout=60)
