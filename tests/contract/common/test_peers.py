"""Every rpc of generator, embedder and trainer without a certificate, with a strange one, and with another's.

The servers are those of the services' own settings; a handler that is reached says so.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from services.common.errors import NotFoundError
from services.common.lifecycle import start_server
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2, generator_pb2_grpc
from services.common.pb.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.common.rpc.tls import channel_credentials
from services.common.settings import ServiceSettings
from services.embedder.settings import EmbedderSettings
from services.generator.settings import GeneratorSettings
from services.trainer.settings import TrainerSettings
from tests.contract.common.test_tls import client, set_up
from tests.fakes.certificates import Authority

REACHED = "the handler was reached"
SERVED = {
    "generator": (
        GeneratorSettings,
        generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"],
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server,
    ),
    "embedder": (
        EmbedderSettings,
        embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"],
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server,
    ),
    "trainer": (
        TrainerSettings,
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"],
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
    ),
}
RPCS = [(name, method) for name, (_, service, _) in SERVED.items() for method in service.methods]


class _Doors:
    """Answers every method with NOT_FOUND."""

    def __getattr__(self, name: str) -> Any:
        async def unary(request: Any, context: Any) -> Any:
            raise NotFoundError(REACHED)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            raise NotFoundError(REACHED)
            yield

        methods = {method.name: method for _, method in RPCS}
        return stream if methods[name].server_streaming else unary


@asynccontextmanager
async def _served(settings: ServiceSettings, add: Any) -> AsyncIterator[str]:
    server, port = await start_server(
        settings, service_names=[], register=lambda server: add(_Doors(), server), health=Health([])
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def _code(target: str, method: MethodDescriptor, files: Any) -> grpc.StatusCode:
    """The server's word.

    A stream that is refused while it is still written to ends in an INTERNAL of gRPC's own now and then,
    before the word has come: it is asked again.
    """
    for _ in range(5):
        if (code := await _code_once(target, method, files)) is not grpc.StatusCode.INTERNAL:
            break
    return code


async def _code_once(target: str, method: MethodDescriptor, files: Any) -> grpc.StatusCode:
    async with open_channel(target, channel_credentials(files)) as channel:
        kind = f"{'stream' if method.client_streaming else 'unary'}_"
        kind += "stream" if method.server_streaming else "unary"
        path = f"/{method.containing_service.full_name}/{method.name}"
        call = getattr(channel, kind)(path, request_serializer=bytes, response_deserializer=bytes)
        made = call(iter([b""]) if method.client_streaming else b"", timeout=5)
        try:
            if method.server_streaming:
                async for _ in made:
                    raise AssertionError("an answer came")
            else:
                await made
        except grpc.aio.AioRpcError as error:
            found = error
        else:
            raise AssertionError("it was answered")
    assert (found.code() is grpc.StatusCode.NOT_FOUND) == (found.details() == REACHED)
    return found.code()


@pytest.mark.parametrize(("name", "method"), RPCS, ids=[f"{name}-{m.name}" for name, m in RPCS])
async def test_rpc_answers_the_named_client_alone(
    name: str, method: MethodDescriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    cls, _, add = SERVED[name]
    settings = set_up(
        monkeypatch, cls, authority, authority.pair("server"), TLS_CLIENT_NAMES='["orchestrator"]'
    )
    async with _served(settings, add) as target:
        ours, other = (
            client(authority, authority.pair("orchestrator")),
            client(authority, authority.pair("ci")),
        )
        strange = client(authority, stranger.pair("orchestrator-of-another"))
        codes = await asyncio.gather(
            *(_code(target, method, files) for files in (client(authority, None), strange, other, ours))
        )
    status = grpc.StatusCode
    assert codes == [status.UNAVAILABLE, status.UNAVAILABLE, status.PERMISSION_DENIED, status.NOT_FOUND]


def test_every_service_but_the_orchestrator_is_listed() -> None:
    assert len(RPCS) >= 14
