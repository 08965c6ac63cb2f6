"""Mutual TLS through real servers, set up by each service's own settings."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import PreconditionError
from services.common.lifecycle import start_health_server, start_server
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.common.rpc.tls import channel_credentials
from services.common.settings import ServiceSettings, load_settings
from services.embedder.settings import EmbedderSettings
from services.generator.settings import GeneratorSettings
from services.orchestrator.settings import OrchestratorSettings
from services.trainer.settings import TrainerSettings
from tests.fakes.certificates import Authority, Pair

MODELS = [GeneratorSettings, EmbedderSettings, TrainerSettings]
SERVED = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True)
class Files:
    """What a client has."""

    tls_cert_file: Path | None
    tls_key_file: Path | None
    tls_ca_file: Path | None


def client(authority: Authority, pair: Pair | None) -> Files:
    return Files(pair and pair.certificate, pair and pair.key, authority.file)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def set_up(
    monkeypatch: pytest.MonkeyPatch, cls: type[ServiceSettings], authority: Authority, pair: Pair, **more: str
) -> ServiceSettings:
    """The settings as a service reads them from its environment."""
    prefix = str(cls.model_config.get("env_prefix"))
    variables = {
        "PORT": "0",
        "METRICS_PORT": "0",
        "TLS_CERT_FILE": str(pair.certificate),
        "TLS_KEY_FILE": str(pair.key),
        "TLS_CA_FILE": str(authority.file),
        **({"MODEL": "fake"} if cls is GeneratorSettings else {}),
        **more,
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    return load_settings(cls)


@asynccontextmanager
async def served(settings: ServiceSettings, **how: Any) -> AsyncIterator[str]:
    """A server of these settings, as a service starts it; yields its target."""
    health = Health([])
    await health.set_serving(True)
    server, port = await start_server(
        settings, service_names=[], register=lambda _: None, health=health, **how
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def ask(
    target: str, credentials: grpc.ChannelCredentials | None, server_name: str = ""
) -> int | grpc.StatusCode:
    async with open_channel(target, credentials, server_name=server_name) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=5
            )
        except grpc.aio.AioRpcError as error:
            return error.code()
    return int(answer.status)


@pytest.mark.parametrize("cls", MODELS)
async def test_client_of_the_authority_is_served_and_every_other_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority, cls: type[ServiceSettings]
) -> None:
    settings = set_up(monkeypatch, cls, authority, authority.pair("server"))
    other = Authority(tmp_path, "other")
    refused = {
        "in the clear": None,
        "no certificate": channel_credentials(client(authority, None)),
        "of another authority": channel_credentials(client(authority, other.pair("stranger"))),
        "expired": channel_credentials(client(authority, authority.pair("old", days=-1))),
        "server not trusted": channel_credentials(client(other, authority.pair("misled"))),
    }
    async with served(settings) as target:
        right = channel_credentials(client(authority, authority.pair("orchestrator")))
        assert await ask(target, right) == SERVED
        for what, credentials in refused.items():
            assert await ask(target, credentials) is grpc.StatusCode.UNAVAILABLE, what
        assert await ask(target, right) == SERVED


async def test_server_that_an_address_leads_to_must_have_the_name_that_was_looked_up(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    settings = set_up(monkeypatch, EmbedderSettings, authority, authority.pair("server"))
    async with served(settings) as target:
        right = channel_credentials(client(authority, authority.pair("orchestrator")))
        assert await ask(target, right, "localhost") == SERVED
        assert await ask(target, right, "embedder.elsewhere.svc") is grpc.StatusCode.UNAVAILABLE


async def test_server_whose_certificate_expired_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    settings = set_up(monkeypatch, TrainerSettings, authority, authority.pair("server", days=-1))
    async with served(settings) as target:
        right = channel_credentials(client(authority, authority.pair("orchestrator")))
        assert await ask(target, right) is grpc.StatusCode.UNAVAILABLE


async def test_orchestrator_speaks_tls_and_asks_for_no_client_certificate(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    settings = set_up(monkeypatch, OrchestratorSettings, authority, authority.pair("server"))
    async with served(settings, client_certificates=False) as target:
        assert await ask(target, channel_credentials(client(authority, None))) == SERVED
        assert await ask(target, None) is grpc.StatusCode.UNAVAILABLE


async def test_rotated_certificate_serves_new_connections_without_a_restart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    mine = authority.pair("server")
    settings = set_up(monkeypatch, EmbedderSettings, authority, mine)
    (tmp_path / "new").mkdir()
    renewed = Authority(tmp_path / "new", "renewed")
    async with served(settings) as target:
        before = channel_credentials(client(authority, authority.pair("before")))
        after = channel_credentials(client(renewed, renewed.pair("after")))
        assert await ask(target, before) == SERVED
        assert await ask(target, after) is grpc.StatusCode.UNAVAILABLE
        # Half of a rotation: the pair that was read goes on serving.
        fresh = renewed.pair("server")
        mine.certificate.write_bytes(fresh.certificate.read_bytes())
        assert await ask(target, before) == SERVED
        mine.key.write_bytes(fresh.key.read_bytes())
        authority.file.write_bytes(renewed.file.read_bytes())
        os.utime(mine.certificate)
        assert await ask(target, after) == SERVED
        assert await ask(target, before) is grpc.StatusCode.UNAVAILABLE


async def test_health_port_answers_in_the_clear_and_serves_nothing_else(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, unused_tcp_port: int
) -> None:
    settings = set_up(
        monkeypatch, TrainerSettings, authority, authority.pair("server"), HEALTH_PORT=str(unused_tcp_port)
    )
    health = Health([])
    await health.set_serving(True)
    server = await start_health_server(settings, health)
    assert server is not None
    try:
        target = f"127.0.0.1:{unused_tcp_port}"
        assert await ask(target, None) == SERVED
        await health.set_serving(False)
        assert await ask(target, None) == health_pb2.HealthCheckResponse.NOT_SERVING
        async with open_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_unary("/valign.trainer.v1.TrainerService/GetTraining")(b"", timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    finally:
        await server.stop(None)


async def test_calls_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainerSettings(port=0, max_concurrent_rpcs=1)
    async with served(settings) as target, open_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        held = stub.Watch(health_pb2.HealthCheckRequest())
        await held.read()
        assert await ask(target, None) is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.cancel()


@pytest.mark.parametrize("broken", ["missing", "no PEM", "another key"])
async def test_files_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority, broken: str
) -> None:
    pair = authority.pair("server")
    match broken:
        case "missing":
            pair.key.unlink()
        case "no PEM":
            pair.certificate.write_text("nothing")
        case _:
            pair.key.write_bytes(authority.pair("other").key.read_bytes())
    settings = set_up(monkeypatch, TrainerSettings, authority, pair)
    with pytest.raises(PreconditionError, match="server"):
        async with served(settings):
            pass
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(PreconditionError, match=r"empty\.pem"):
        channel_credentials(Files(None, None, tmp_path / "empty.pem"))
