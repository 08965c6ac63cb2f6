"""Calls of all four kinds carry trace and ids, bring back what they cost, and behave as without that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.trace import SpanKind

from services.common import tracing, usage
from services.common.errors import NotFoundError
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health, build_server
from services.common.usage import Usage
from tests.fakes.spans import Recorded, recorded

NAME = "valign.test.v1.Echo"
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class Echo:
    """One method of each kind; notes the ids that are bound, charges 1.5 and 0.5 seconds."""

    def __init__(self) -> None:
        self.ids: list[dict[str, Any]] = []
        self.held = asyncio.Event()

    def _serve(self, request: bytes) -> bytes:
        self.ids.append(dict(structlog.contextvars.get_contextvars()))
        usage.account().add(1.5, 0.5)
        if request == b"missing":
            raise NotFoundError("there is no such thing")
        return request

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return self._serve(request)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield self._serve(request)
        if request == b"hold":
            self.held.set()
            await asyncio.sleep(60)
        yield request

    async def stream_unary(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return self._serve(b"".join([request async for request in requests]))

    async def stream_stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield self._serve(request)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Echo, grpc.aio.Channel]]:
    echo = Echo()
    server = build_server(service_names=(), health=Health(()))
    handlers = {kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(echo, kind)) for kind in KINDS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield echo, channel
    finally:
        await server.stop(None)


async def ask(channel: grpc.aio.Channel, kind: str, request: bytes, **more: Any) -> list[bytes]:
    rpc = getattr(channel, kind)(f"/{NAME}/{kind}")

    async def requests() -> AsyncIterator[bytes]:
        yield request

    call = rpc(requests() if kind.startswith("stream") else request, timeout=20, **more)
    return [part async for part in call] if kind.endswith("stream") else [await call]


def sides(seen: Recorded, kind: str) -> tuple[Any, Any]:
    found = {span.kind: span for span in seen.named(f"{NAME}/{kind}")}
    return found[SpanKind.CLIENT], found[SpanKind.SERVER]


@pytest.mark.parametrize("kind", KINDS)
async def test_call_of_each_kind_is_one_trace_and_carries_the_ids(kind: str) -> None:
    with recorded() as seen:
        async with served() as (echo, channel):
            with (
                tracing.span("around"),
                structlog.contextvars.bound_contextvars(run_id="r-20261126-abc", request_id="q-1"),
            ):
                assert (await ask(channel, kind, b"x", metadata=(("own", "kept"),)))[0] == b"x"
        client, server = sides(seen, kind)
        around = seen.named("around")[0]
    assert client.parent.span_id == around.context.span_id
    assert server.parent.span_id == client.context.span_id
    assert client.attributes["rpc.response.status_code"] == "OK"
    assert server.attributes["valign.run.id"] == "r-20261126-abc"
    assert (echo.ids[0]["run_id"], echo.ids[0]["request_id"]) == ("r-20261126-abc", "q-1")


@pytest.mark.parametrize("kind", KINDS)
async def test_call_of_each_kind_brings_back_what_it_cost(kind: str) -> None:
    told: list[tuple[str, Usage]] = []
    async with served() as (_, channel):
        with usage.collecting(lambda service, spent: told.append((service, spent))):
            await ask(channel, kind, b"x")
        await ask(channel, kind, b"x")
    assert [(service, spent.cpu_s, spent.gpu_s) for service, spent in told] == [(NAME, 1.5, 0.5)]


@pytest.mark.parametrize("kind", KINDS)
async def test_call_of_each_kind_that_fails_says_so_and_costs(kind: str) -> None:
    told: list[Usage] = []
    with recorded() as seen:
        async with served() as (_, channel):
            with (
                usage.collecting(lambda service, spent: told.append(spent)),
                pytest.raises(grpc.aio.AioRpcError) as caught,
            ):
                await ask(channel, kind, b"missing")
        client, server = sides(seen, kind)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert client.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert server.attributes["error.type"] == "NOT_FOUND"
    assert not client.status.is_ok
    assert [spent.cpu_s for spent in told] == [1.5]


async def test_stream_that_its_caller_leaves_ends_on_both_sides() -> None:
    with recorded() as seen:
        async with served() as (echo, channel):
            call = channel.unary_stream(f"/{NAME}/unary_stream")(b"hold")
            assert await call.read() == b"hold"
            await echo.held.wait()
            call.cancel()
            for _ in range(100):
                if len(seen.named(f"{NAME}/unary_stream")) == 2:
                    break
                await asyncio.sleep(0.05)
        client, server = sides(seen, "unary_stream")
    assert client.attributes["rpc.response.status_code"] == "CANCELLED"
    assert server.attributes["rpc.response.status_code"] == "CANCELLED"


async def test_call_to_nobody_ends_its_span() -> None:
    with recorded() as seen:
        async with open_channel("127.0.0.1:1") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(f"/{NAME}/unary_unary")(b"x", timeout=5)
        spans = seen.named(f"{NAME}/unary_unary")
    assert [span.attributes["rpc.response.status_code"] for span in spans if span.attributes] == [
        "UNAVAILABLE"
    ]


@pytest.mark.parametrize("run_id", ["../../etc", "a b", "x" * 200, ""])
async def test_run_id_of_a_stranger_that_is_none_is_not_bound(run_id: str) -> None:
    async with served() as (echo, channel):
        rpc = channel.unary_unary(f"/{NAME}/unary_unary")
        await rpc(b"x", metadata=(("valign-run-id", run_id),))
    assert "run_id" not in echo.ids[0]
