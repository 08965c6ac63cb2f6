"""The orchestrator's two faces on real servers, over one application."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.access.authenticate import OPEN
from services.orchestrator.api import SERVICE_NAME, OrchestratorServicer, build_http_app
from services.orchestrator.api.access_grpc import AccessInterceptor
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import grpc_channel, http_server


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """The application behind both servers."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
async def rest(here: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the HTTP server."""
    async with (
        http_server(build_http_app(here.application)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield client


@pytest.fixture
async def stub(here: World) -> AsyncIterator[pb_grpc.OrchestratorServiceStub]:
    """A client of the gRPC server."""
    servicer = OrchestratorServicer(here.application)

    def register(server: object) -> None:
        pb_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)

    async with grpc_channel(register, SERVICE_NAME, [AccessInterceptor(OPEN, SERVICE_NAME)]) as channel:
        yield pb_grpc.OrchestratorServiceStub(channel)
