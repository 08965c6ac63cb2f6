"""The orchestrator as a process beyond loopback: TLS on both faces, and nobody in without a key."""

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.common.rpc.client import open_channel, wait_until_serving
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.store.sql import SqlRunStore
from tests.fakes.certificates import Authority

SECRET = "sk-hunter2-hunter2"  # noqa: S105 (what must not be logged)


@dataclass(frozen=True, slots=True)
class Process:
    """Where it listens, what trusts it, and a key that it knows."""

    url: str
    target: str
    authority: Path
    key: str
    log: Path


def _variables(folder: Path, authority: Authority, ports: list[int]) -> dict[str, str]:
    pair = authority.pair("orchestrator")
    settings = {
        "HOST": "0.0.0.0",  # noqa: S104
        "HOME": str(folder),
        "PORT": str(ports[0]),
        "HTTP_PORT": str(ports[1]),
        "HEALTH_PORT": str(ports[2]),
        "TLS_CERT_FILE": str(pair.certificate),
        "TLS_KEY_FILE": str(pair.key),
        "TLS_CA_FILE": str(authority.file),
        "HTTP_TLS_CERT_FILE": str(pair.certificate),
        "HTTP_TLS_KEY_FILE": str(pair.key),
        "ENDPOINT_KEYS": f'{{"api.example.org": "{SECRET}"}}',
        "LOG_LEVEL": "debug",
    }
    return {**os.environ, **{f"VALIGN_ORCHESTRATOR_{name}": value for name, value in settings.items()}}


@pytest.fixture
async def process(tmp_path: Path, unused_tcp_port_factory: object) -> AsyncIterator[Process]:
    ports = [unused_tcp_port_factory() for _ in range(3)]  # type: ignore[operator]
    store = SqlRunStore(f"sqlite:///{tmp_path}/orchestrator.db")
    store.migrate()
    _, key = await ApiKeys(store.api_keys).create("operator", ["admin"], create_by="test")
    store.close()
    authority = Authority(tmp_path)
    log = tmp_path / "log"
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.orchestrator",
            env=_variables(tmp_path, authority, ports),
            stdout=out,
            stderr=out,
        )
    try:
        await wait_until_serving(f"127.0.0.1:{ports[2]}", 60)
        yield Process(f"https://127.0.0.1:{ports[1]}", f"127.0.0.1:{ports[0]}", authority.file, key, log)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 60) == 0


async def test_process_beyond_loopback_speaks_tls_asks_for_keys_and_logs_no_secret(process: Process) -> None:
    trusting = ssl.create_default_context(cafile=process.authority)
    bearer = {"authorization": f"Bearer {process.key}"}
    async with httpx.AsyncClient(base_url=process.url, verify=trusting, trust_env=False) as client:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/v1/runs")).status_code == 401
        assert (await client.get("/v1/caller", headers=bearer)).json()["name"] == "key:operator"
        study = "name: demo\nmeasure_only: true\nendpoint: {url: 'http://169.254.169.254/v1', model: m}\n"
        refused = await client.post("/v1/runs", content=study, headers=bearer)
        assert (refused.status_code, "ENDPOINT_HOSTS" in refused.json()["detail"]) == (422, True)
    async with httpx.AsyncClient(trust_env=False) as plain:
        with pytest.raises(httpx.TransportError):
            await plain.get(process.url.replace("https", "http") + "/readyz")
    credentials = grpc.ssl_channel_credentials(process.authority.read_bytes())
    async with open_channel(process.target, credentials) as channel:
        stub = pb_grpc.OrchestratorServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.GetCaller(pb.GetCallerRequest(), timeout=10)
        assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED
        me = await stub.GetCaller(pb.GetCallerRequest(), metadata=tuple(bearer.items()), timeout=10)
        assert me.name == "key:operator"
    async with open_channel(process.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as in_the_clear:
            await pb_grpc.OrchestratorServiceStub(channel).GetCaller(pb.GetCallerRequest(), timeout=10)
        assert in_the_clear.value.code() is grpc.StatusCode.UNAVAILABLE
    written = process.log.read_text()
    assert "access.refused" in written
    assert SECRET not in written
    assert process.key.split("_", 2)[2] not in written
