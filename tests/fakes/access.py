"""Both faces of the orchestrator behind a credential, and callers of every route and rpc."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys, new_key
from services.orchestrator.access.limits import CallLimits
from services.orchestrator.api import SERVICE_NAME, OrchestratorServicer, build_http_app
from services.orchestrator.api.access_grpc import AccessInterceptor
from services.orchestrator.identity import Scope, current_principal
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import grpc_channel, http_server

RPCS = list(pb.DESCRIPTOR.services_by_name["OrchestratorService"].methods)
STUDY = "name: demo\n"


class Telling(OrchestratorServicer):
    """Tells who it thinks is calling, after it has waited for others."""

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        if request.run_id != "who":
            async for event in super().WatchRun(request, context):
                yield event
            return
        for number in range(5):
            await asyncio.sleep(0.01)
            yield pb.WatchRunResponse(number=number, kind=current_principal().name)

    async def AddAsset(self, requests: Any, context: Any) -> pb.AddAssetResponse:
        async for _ in requests:
            await asyncio.sleep(0.01)
        return pb.AddAssetResponse(asset=pb.Asset(name=current_principal().name))


@dataclass(frozen=True, slots=True)
class Served:
    """Both faces behind a credential."""

    here: World
    app: FastAPI
    rest: httpx.AsyncClient
    channel: grpc.aio.Channel

    def key(
        self, *scopes: Scope, name: str = "", expired: bool = False, revoked: bool = False
    ) -> dict[str, str]:
        """The header of a new key; also of one that nobody could make, without a scope."""
        key, token, digest = new_key(name or f"key {secrets.token_hex(8)}", ["read"], 0, create_by="test")
        key = replace(key, scopes=frozenset(scopes))
        if expired:
            key = replace(key, expire_time=datetime.now(UTC) - timedelta(seconds=1))
        self.here.store.api_keys.add(key, digest)
        if revoked:
            self.here.store.api_keys.revoke(key.key_id)
        return {"authorization": f"Bearer {token}"}

    def wrong_credentials(self) -> dict[str, dict[str, str]]:
        """Headers that must not open anything, by what is wrong with them."""
        good = self.key(Scope.ADMIN)["authorization"]
        other = good[:-4] + ("aaaa" if good[-4:] != "aaaa" else "bbbb")
        _, unknown, _ = new_key("unknown", ["admin"], 0, create_by="test")
        token = good.removeprefix("Bearer ")
        return {
            "wrong secret": {"authorization": other},
            "unknown key": {"authorization": f"Bearer {unknown}"},
            "cut": {"authorization": good[:-1]},
            "no secret": {"authorization": "Bearer valign_"},
            "garbage": {"authorization": "Bearer x"},
            "no token": {"authorization": "Bearer"},
            "other scheme": {"authorization": f"Basic {token}"},
            "no scheme": {"authorization": token},
            "expired": self.key(Scope.ADMIN, expired=True),
            "revoked": self.key(Scope.ADMIN, revoked=True),
        }

    def too_small(self, needed: Scope) -> dict[str, str]:
        """The header of a key that may do everything but this."""
        if needed is Scope.READ:
            return self.key()
        return self.key(*(set(Scope) - {needed, Scope.ADMIN}))


@asynccontextmanager
async def serve(here: World, rate: str = "100000/minute", failures: str = "100000/minute") -> Any:
    access = Access(
        required=True, keys=ApiKeys(here.store.api_keys), limits=CallLimits(rate, failures, max_streams=2)
    )
    app = build_http_app(here.application, access=access)
    async with (
        http_server(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as rest,
        grpc_channel(
            lambda server: pb_grpc.add_OrchestratorServiceServicer_to_server(
                Telling(here.application), server
            ),
            SERVICE_NAME,
            [AccessInterceptor(access, SERVICE_NAME)],
        ) as channel,
    ):
        yield Served(here, app, rest, channel)


def routes_of(app: FastAPI) -> list[tuple[str, str, str]]:
    """Method, path and operation id of all routes of the OpenAPI document, and of the document itself."""
    listed = [
        (method.upper(), path, operation["operationId"])
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    return [*listed, ("GET", "/openapi.json", "getOpenapi")]


async def ask(served: Served, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """One request with an id in each place of the path. The server sees a caller of another machine."""
    for name in ("run_id", "study_id", "set_id", "sha256", "head_id", "evaluation_id", "key_id"):
        path = path.replace(f"{{{name}}}", "x")
    transport = httpx.ASGITransport(served.app, client=("203.0.113.9", 4711))
    if path == "/metrics":
        async with httpx.AsyncClient(transport=transport, base_url="http://valign.test") as client:
            return await client.request(method, path, headers=headers)
    return await served.rest.request(method, path, headers=headers)


async def call(served: Served, method: Any, headers: dict[str, str]) -> grpc.StatusCode:
    """The status of one rpc with an empty request, dispatched by its descriptor."""
    kinds = {
        (False, False): served.channel.unary_unary,
        (False, True): served.channel.unary_stream,
        (True, False): served.channel.stream_unary,
        (True, True): served.channel.stream_stream,
    }
    rpc = kinds[method.client_streaming, method.server_streaming](f"/{SERVICE_NAME}/{method.name}")
    made = rpc(iter([b""]) if method.client_streaming else b"", metadata=tuple(headers.items()), timeout=20)
    try:
        if method.server_streaming:
            async for _ in made:
                pass
        else:
            await made
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, max_queued_runs=3) as made:
        yield made


@pytest.fixture
async def served(here: World) -> AsyncIterator[Served]:
    async with serve(here) as made:
        yield made
