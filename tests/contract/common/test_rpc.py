"""The server interceptor, health and client helpers, through a real gRPC server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from services.common import errors
from services.common.errors import ErrorCode, InvalidInputError, NotReadyError, ValignError, error_for
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.pb.embedder.v1 import embedder_pb2_grpc as pb_grpc
from services.common.rpc.client import as_valign_error, call, open_channel, retry, wait_until_serving
from services.common.rpc.server import Health, build_server

NAME = "valign.embedder.v1.EmbedderService"


class Servicer(pb_grpc.EmbedderServiceServicer):
    """Raises what the test asks for; counts its calls."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.failures = 10**9
        self.calls = 0

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        self.calls += 1
        if self.error is not None and self.calls <= self.failures:
            raise self.error
        return pb.DescribeResponse(model="m")

    async def Embed(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.EmbedResponse]:
        async for part in request_iterator:
            yield pb.EmbedResponse(count=len(part.texts))
            if "wait" in part.texts:
                await asyncio.sleep(3600)
            if self.error is not None:
                raise self.error


@pytest.fixture
async def served() -> AsyncIterator[tuple[Servicer, Health, str]]:
    servicer, health = Servicer(), Health([NAME])
    await health.set_serving(True)
    server = build_server(service_names=[NAME], health=health)
    pb_grpc.add_EmbedderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, health, f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_error_code_crosses_the_wire(
    served: tuple[Servicer, Health, str], code: ErrorCode
) -> None:
    servicer, _, target = served
    servicer.error = error_for(code.value, "the value 3 is wrong; use 4", {"value": 3})
    async with open_channel(target) as channel:
        stub = pb_grpc.EmbedderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Describe(pb.DescribeRequest(), timeout=5)
    assert raised.value.code().name == code.grpc_status
    error = as_valign_error(raised.value)
    assert (error.code, error.message, error.details) == (code, "the value 3 is wrong; use 4", {"value": 3})


@pytest.mark.parametrize("text", ["x", "é", "%", "值"])
async def test_message_that_is_too_long_is_cut_and_the_code_stays(
    served: tuple[Servicer, Health, str], text: str
) -> None:
    servicer, _, target = served
    servicer.error = InvalidInputError(text * 100_000, details={"errors": "y" * 4000})
    async with open_channel(target) as channel:
        with pytest.raises(InvalidInputError) as raised:
            await call(pb_grpc.EmbedderServiceStub(channel).Describe, pb.DescribeRequest(), timeout_s=5)
    assert raised.value.message.startswith(text * 300)
    assert raised.value.message.endswith("(cut)")
    assert len(raised.value.details["errors"]) == 4000


async def test_unexpected_error_is_internal_without_its_text(served: tuple[Servicer, Health, str]) -> None:
    servicer, _, target = served
    servicer.error = RuntimeError("secret in the trace")
    async with open_channel(target) as channel:
        with pytest.raises(errors.InternalError) as raised:
            await call(pb_grpc.EmbedderServiceStub(channel).Describe, pb.DescribeRequest(), timeout_s=5)
    assert "secret" not in raised.value.message
    assert "request id" in raised.value.message


async def test_error_in_a_stream_comes_after_what_was_sent(served: tuple[Servicer, Health, str]) -> None:
    servicer, _, target = served
    servicer.error = InvalidInputError("text 2 is empty")
    received = []
    async with open_channel(target) as channel:
        stream = pb_grpc.EmbedderServiceStub(channel).Embed(
            iter([pb.EmbedRequest(texts=["a", "b"])]), timeout=5
        )
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for response in stream:
                received.append(response.count)
    assert received == [2]
    assert as_valign_error(raised.value).code is ErrorCode.INVALID_INPUT


async def test_cancelled_stream_is_counted_as_cancelled(served: tuple[Servicer, Health, str]) -> None:
    _, _, target = served

    def handled() -> float:
        labels = {"grpc_service": NAME, "method": "Embed", "status": "CANCELLED"}
        return REGISTRY.get_sample_value("valign_rpc_server_handled_total", labels) or 0.0

    before = handled()

    async with open_channel(target) as channel:
        stream = pb_grpc.EmbedderServiceStub(channel).Embed(
            iter([pb.EmbedRequest(texts=["wait"])]), timeout=5
        )
        await stream.read()
        stream.cancel()
    for _ in range(100):
        if handled() == before + 1:
            break
        await asyncio.sleep(0.02)
    assert handled() == before + 1


async def test_retry_repeats_only_what_can_succeed_later(served: tuple[Servicer, Health, str]) -> None:
    servicer, _, target = served

    async def attempt() -> pb.DescribeResponse:
        return await call(stub.Describe, pb.DescribeRequest(), timeout_s=5)

    async with open_channel(target) as channel:
        stub = pb_grpc.EmbedderServiceStub(channel)
        servicer.error, servicer.failures = NotReadyError("loading"), 2
        assert (await retry(attempt, attempts=5, max_wait_s=0.01)).model == "m"
        assert servicer.calls == 3

        servicer.error, servicer.failures, servicer.calls = InvalidInputError("no"), 10**9, 0
        with pytest.raises(InvalidInputError):
            await retry(attempt, attempts=5, max_wait_s=0.01)
        assert servicer.calls == 1

        servicer.error, servicer.calls = NotReadyError("loading"), 0
        with pytest.raises(NotReadyError):
            await retry(attempt, attempts=3, max_wait_s=0.01)
        assert servicer.calls == 3


async def test_wait_until_serving_follows_health(served: tuple[Servicer, Health, str]) -> None:
    _, health, target = served
    await wait_until_serving(target, 5, NAME)
    await health.set_serving(False)
    with pytest.raises(NotReadyError, match="NOT_SERVING"):
        await wait_until_serving(target, 0.5, NAME)


async def test_wait_until_serving_nobody_there_says_so() -> None:
    with pytest.raises(NotReadyError, match="UNAVAILABLE"):
        await wait_until_serving("127.0.0.1:1", 0.5)


async def test_call_past_its_deadline_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and says nothing
        async with open_channel(f"127.0.0.1:{silent.getsockname()[1]}") as channel:
            with pytest.raises(ValignError) as raised:
                await call(pb_grpc.EmbedderServiceStub(channel).Describe, pb.DescribeRequest(), timeout_s=0.3)
    assert raised.value.code is ErrorCode.TIMEOUT


async def test_reflection_lists_the_service(served: tuple[Servicer, Health, str]) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    _, _, target = served
    async with open_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=5)]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {NAME, "grpc.health.v1.Health"} <= names
