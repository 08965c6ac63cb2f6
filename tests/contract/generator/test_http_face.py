"""The HTTP face on a real port, with a fake engine and a fake of vLLM's server behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import NotFoundError, PreconditionError
from services.generator.adapters import Adapters
from services.generator.routes import Route
from services.generator.service import Generator
from services.generator.serving.build import build_server
from services.generator.serving.server import HttpServer
from services.generator.serving.traffic import QUEUED_EXCHANGES, Traffic
from services.generator.settings import GeneratorSettings
from tests.fakes.adapter_folders import write_adapter
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.fake_openai_app import FakeOpenAIApp
from tests.fakes.servers import free_port


@dataclass
class Served:
    engine: FakeEngine
    generator: Generator
    app: FakeOpenAIApp
    traffic: Traffic
    server: HttpServer
    http: httpx.AsyncClient
    folder: Path

    async def load(self, name: str, rank: int = 2) -> str:
        store = ArtifactStore(str(self.folder / "store"))
        made = write_adapter(store, self.folder / f"made-{name}", f"adapters/{name}", rank=rank)
        await self.generator.adapters.load(name, made.uri, made.sha256)
        return made.sha256

    def route(self, adapter: str, version: int = 1, **fields: Any) -> None:
        self.generator.routes.set(Route("valign", adapter, version=version, **fields))

    async def chat(self, model: str = "valign", headers: Any = None, **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def until_open(self, count: int) -> None:
        while len(self.app.seen) < count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served_with(folder: Path, **settings: Any) -> AsyncIterator[Served]:
    engine = FakeEngine()
    adapters = Adapters(
        engine, ArtifactStore(str(folder / "store")), folder / "cache", max_bytes=10**6, tolerance=0.01
    )
    generator = Generator(engine, adapters, max_in_flight=64, max_calls=3)
    app, traffic = FakeOpenAIApp(), Traffic()
    port = free_port()
    configured = GeneratorSettings(model="fake-model", port=0, http_port=port, **settings)
    server = build_server(configured, generator, app, traffic, app.check)
    await engine.start()
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20
        ) as http:
            yield Served(engine, generator, app, traffic, server, http, folder)
    finally:
        app.gate.set()
        await server.drain(0.5)
        await engine.stop()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with served_with(tmp_path) as made:
        yield made


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["type"], error["message"]


async def test_health_waits_until_the_server_has_the_engine(served: Served) -> None:
    served.app.attached = False
    assert (await served.http.get("/health")).status_code == 503
    served.app.attached = True
    assert (await served.http.get("/health")).status_code == 200


async def test_models_are_the_routes_the_base_and_the_adapters_and_no_other(served: Served) -> None:
    await served.load("a")
    await served.load("b")
    served.route("a")
    listed = (await served.http.get("/v1/models")).json()
    assert {model["id"]: (model["root"], model["parent"]) for model in listed["data"]} == {
        "valign": ("a", None),
        "fake-model": ("fake-model", None),
        "a": ("a", "fake-model"),
        "b": ("b", "fake-model"),
    }
    one = await served.http.get("/v1/models/valign")
    assert one.json() in listed["data"]
    assert error_of(await served.http.get("/v1/models/c"))[:2] == (404, "NotFoundError")
    served.route("b", version=2)
    await served.generator.unload("a")
    names = [model["id"] for model in (await served.http.get("/v1/models")).json()["data"]]
    assert names == ["valign", "fake-model", "b"]


@pytest.mark.parametrize("stream", [False, True])
async def test_every_name_leads_to_its_adapter_which_stands_in_the_headers(
    served: Served, stream: bool
) -> None:
    sha256 = await served.load("a")
    served.route("a")
    for model, adapter, route in (("valign", "a", "valign"), ("a", "a", None), ("fake-model", "base", None)):
        answer = await served.chat(model, stream=stream)
        assert answer.status_code == 200
        assert answer.headers["x-valign-adapter"] == adapter
        assert answer.headers.get("x-valign-adapter-sha256") == (sha256 if adapter == "a" else None)
        assert answer.headers.get("x-valign-route") == route
        assert f'"model": "{model}"' in answer.text
    assert [held for _, _, held in served.app.seen] == ["a", "a", ""]


async def test_unknown_model_is_404_and_a_public_name_that_is_not_set_503(served: Served) -> None:
    assert error_of(await served.chat("x" * 500)) == (
        404,
        "NotFoundError",
        f"The model `{'x' * 200}` does not exist. GET /v1/models lists what there is.",
    )
    answer = await served.chat("valign")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    served.generator.routes.set(Route("other", ""))
    assert (await served.chat("other")).status_code == 200
    await served.engine.stop()
    await served.engine.start()
    assert (await served.chat("other")).status_code == 503


async def test_canary_takes_its_share_and_the_same_key_goes_the_same_way(served: Served) -> None:
    await served.load("a")
    await served.load("b", rank=4)
    served.route("a", canary_adapter="b", canary_share=0.3)

    async def adapters(count: int, **of: Any) -> list[str]:
        return [
            (await served.chat(headers=of.get("headers"), **of.get("body", {}))).headers["x-valign-adapter"]
            for _ in range(count)
        ]

    found = await adapters(100)
    assert 15 <= found.count("b") <= 45
    assert len(set(await adapters(8, body={"user": "ana"}))) == 1
    assert len(set(await adapters(8, headers={"x-valign-key": "ana"}))) == 1
    by_user = {(await served.chat(user=f"u{n}")).headers["x-valign-adapter"] for n in range(40)}
    assert by_user == {"a", "b"}


async def test_route_moves_the_request_in_flight_keeps_its_adapter_and_unloading_waits_for_it(
    served: Served,
) -> None:
    await served.load("a")
    await served.load("b", rank=4)
    served.route("a")
    served.app.gate.clear()
    before = asyncio.create_task(served.chat(stream=True))
    await served.until_open(1)
    served.route("b", version=2)
    after = asyncio.create_task(served.chat())
    await served.until_open(2)
    unloading = asyncio.create_task(served.generator.unload("a"))
    await asyncio.sleep(0.05)
    assert not unloading.done()
    assert served.generator.adapters.serving()[0].in_flight == 1
    assert error_of(await served.chat("a"))[0] == 404
    served.app.gate.set()
    assert (await before).headers["x-valign-adapter"] == "a"
    assert "three two one" in "".join(
        json.loads(line[6:])["choices"][0]["delta"]["content"]
        for line in (await before).text.splitlines()
        if line.startswith("data: {")
    )
    assert (await after).headers["x-valign-adapter"] == "b"
    assert await unloading == 1
    with pytest.raises(NotFoundError):
        await served.generator.unload("a")


async def test_caller_who_leaves_lets_its_adapter_go(served: Served) -> None:
    await served.load("a")
    served.app.gate.clear()
    body = {"model": "a", "messages": [{"role": "user", "content": "x y"}], "stream": True}
    async with served.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
    served.app.gate.set()
    assert await asyncio.wait_for(served.generator.unload("a"), 5) <= 1


async def test_paths_that_are_not_let_through_are_404_in_the_api_s_shape(served: Served) -> None:
    for method, path in (
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("GET", "/metrics"),
        ("GET", "/version"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("DELETE", "/v1/models/a"),
        ("GET", "/docs"),
    ):
        answer = await served.http.request(method, path, json={"model": "fake-model"})
        assert error_of(answer)[:2] == (404, "NotFoundError"), path
    assert served.app.seen == []


async def test_bodies_that_are_wrong_or_too_large_are_refused_before_the_server(tmp_path: Path) -> None:
    async with served_with(tmp_path, max_http_body_bytes=2000, max_http_sequences=4) as served:

        async def sent(content: bytes | AsyncIterator[bytes]) -> int:
            answer = await served.http.post("/v1/completions", content=content)
            return error_of(answer)[0]

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b" " * 100

        assert await sent(b"{") == 400
        assert await sent(b"[" * 1900) == 400
        assert await sent(b"[]") == 400
        assert await sent(b'{"prompt": "x"}') == 400
        assert await sent(b'{"model": 5}') == 400
        assert await sent(b'{"model": "fake-model", "prompt": "' + b"x" * 2000 + b'"}') == 413
        assert await sent(parts()) == 413
        assert await sent(b'{"model": "fake-model", "n": 5, "prompt": "x"}') == 400
        assert await sent(b'{"model": "fake-model", "n": 2, "prompt": ["x", "y", "z"]}') == 400
        assert served.app.seen == []
        fine = b'{"model": "fake-model", "n": 4, "prompt": [1, 2, 3, 4, 5, 6]}'
        assert (await served.http.post("/v1/completions", content=fine)).status_code == 200


async def test_request_id_goes_in_and_out_and_orders_in_headers_do_not_pass(served: Served) -> None:
    orders = {"x-data-parallel-rank": "1", "x-vllm-priority": "-9", "authorization": "Bearer x"}
    answer = await served.chat("fake-model", headers={"x-request-id": "abc.1", **orders})
    assert answer.headers["x-request-id"] == "abc.1"
    headers = served.app.seen[0][0]
    assert headers["x-request-id"] == "abc.1"
    assert not set(orders) & set(headers)
    made = (await served.chat("fake-model", headers={"x-request-id": "no good\tid"})).headers["x-request-id"]
    assert len(made) == 32


async def test_fault_of_the_server_is_told_without_its_words(served: Served) -> None:
    served.app.fail = 500
    answer = await served.chat("fake-model", headers={"x-request-id": "r1"})
    assert error_of(answer)[:2] == (500, "InternalServerError")
    assert "secret" not in answer.text
    assert "r1" in answer.text
    served.app.fail = 400
    assert "secret inner words" in (await served.chat("fake-model")).text
    served.app.fail, served.app.raises = None, RuntimeError("secret inner words")
    answer = await served.chat("fake-model")
    assert (answer.status_code, "secret" in answer.text) == (500, False)


async def test_engine_is_gone_answers_503_and_works_again_after_it(served: Served) -> None:
    served.app.fail = 500
    served.engine.die()
    answer = await served.chat("fake-model")
    assert error_of(answer)[:2] == (503, "ServiceUnavailableError")
    assert int(answer.headers["retry-after"]) > 0
    assert (await served.http.get("/health")).status_code == 503
    assert (await served.http.get("/v1/models")).status_code == 503
    served.app.fail = None
    await served.engine.start()
    assert (await served.http.get("/health")).status_code == 200
    assert (await served.chat("fake-model")).status_code == 200


async def test_engine_that_dies_under_a_request_answers_503(served: Served) -> None:
    served.app.gate.clear()
    asked = asyncio.create_task(served.chat("fake-model"))
    await served.until_open(1)
    served.engine.die()
    served.app.fail = 500
    assert (await served.chat("fake-model")).status_code == 503
    served.app.gate.set()
    assert (await asked).status_code == 200


async def test_drain_ends_what_is_open_and_takes_nothing_new(served: Served) -> None:
    served.app.gate.clear()
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "x y z"}], "stream": True}
    streaming = asyncio.create_task(served.http.post("/v1/chat/completions", json=body))
    await served.until_open(1)
    draining = asyncio.create_task(served.server.drain(20))
    await asyncio.sleep(0.05)
    assert error_of(await served.chat("fake-model"))[0] == 503
    assert (await served.http.get("/health")).status_code == 503
    served.app.gate.set()
    answer = await streaming
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")
    await asyncio.wait_for(draining, 10)
    with pytest.raises(httpx.ConnectError):
        await served.chat("fake-model")


async def test_drain_time_is_over_the_rest_is_cut(served: Served) -> None:
    served.app.gate.clear()
    asked = asyncio.create_task(served.chat("fake-model"))
    await served.until_open(1)
    await asyncio.wait_for(served.server.drain(0.1), 10)
    with pytest.raises(httpx.HTTPError):
        (await asked).raise_for_status()


async def test_too_many_requests_at_once_are_429(tmp_path: Path) -> None:
    async with served_with(tmp_path, max_http_requests=2) as served:
        served.app.gate.clear()
        held = [asyncio.create_task(served.chat("fake-model")) for _ in range(2)]
        await served.until_open(2)
        answer = await served.chat("fake-model")
        assert error_of(answer)[:2] == (429, "RateLimitError")
        assert answer.headers["retry-after"] == "1"
        served.app.gate.set()
        assert {(await one).status_code for one in held} == {200}


async def test_web_pages_of_other_sites_are_refused_while_no_credential_is_asked_for(served: Served) -> None:
    for headers in (
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ):
        assert error_of(await served.chat("fake-model", headers=headers))[0] == 403, headers
    assert (await served.chat("fake-model", headers={"origin": "http://localhost:3000"})).status_code == 200


async def test_port_that_is_taken_is_said(served: Served, tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="VALIGN_GENERATOR_HTTP_PORT"):
        async with served_with(tmp_path, base_model_name="x") as second:
            second.server._settings = served.server._settings
            await second.server.start()


@pytest.mark.parametrize("stream", [False, True])
async def test_traffic_is_shown_whole_to_who_watches_and_to_nobody_else(served: Served, stream: bool) -> None:
    await served.load("a")
    served.route("a")
    await served.chat(stream=stream)
    with served.traffic.watch("valign", 1.0) as watch, served.traffic.watch("other", 1.0) as other:
        for number in range(3):
            await served.chat(stream=stream, headers={"x-request-id": f"r{number}"})
        await served.chat("a", stream=stream)
        seen = [await asyncio.wait_for(anext(watch.exchanges()), 5) for _ in range(3)]
        assert other.queue.empty()
        assert watch.queue.empty()
    assert [one.id for one in seen] == ["r0", "r1", "r2"]
    assert [(one.served, one.dropped) for one in seen] == [(1, 0)] * 3
    assert {(one.messages, one.text.strip(), one.finish_reason, one.adapter) for one in seen} == {
        ((("user", "one two three"),), "three two one", "stop", "a")
    }


async def test_traffic_that_is_not_read_is_dropped_and_counted_and_serving_goes_on(served: Served) -> None:
    served.route("")
    with served.traffic.watch("valign", 1.0) as watch:
        for _ in range(QUEUED_EXCHANGES + 5):
            assert (await served.chat()).status_code == 200
        exchanges = watch.exchanges()
        for _ in range(QUEUED_EXCHANGES):
            await anext(exchanges)
        await served.chat()
        last = await anext(exchanges)
        assert (last.served, last.dropped) == (6, 5)


async def test_traffic_is_sampled_by_its_rate_and_counts_all(served: Served) -> None:
    served.route("")
    with served.traffic.watch("valign", 0.3) as watch:
        for _ in range(60):
            await served.chat()
        taken = watch.queue.qsize()
        counted = sum(watch.queue.get_nowait().served for _ in range(taken)) + watch.served
    assert 5 <= taken <= 35
    assert counted == 60
