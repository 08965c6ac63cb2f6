"""An attempt over TLS: the connection goes to the address that was checked, the certificate is the name's."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.orchestrator.webhooks.records import Delivery, SecretSeed, Webhook, WebhookState
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.sending import Sender
from services.orchestrator.webhooks.signing import SecretBox
from tests.fakes.certificates import Authority

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
BOX = SecretBox(lambda: ["the key of a test, which is long enough"])
DELIVERY = Delivery("wh-1", 1, "e-1", "run.ended", "runs/r-1", NOW, {"n": 1})


def _webhook(url: str, seed: SecretSeed | None = None) -> Webhook:
    return Webhook("wh-1", url, ("*",), "", WebhookState.ACTIVE, NOW, "key:a", NOW, seed or BOX.new())


async def _loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def trust(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def port(trust: Authority) -> AsyncIterator[int]:
    """A server with a certificate for localhost and 127.0.0.1; it answers with the Host that it was sent."""
    pair = trust.pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host = next(line for line in head.split("\r\n") if line.lower().startswith("host:"))
        writer.write(f"HTTP/1.1 418 Teapot\r\ncontent-length: {len(host)}\r\n\r\n{host}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_host_is_the_one_of_the_url(trust: Authority, port: int, host: str) -> None:
    context = ssl.create_default_context(cafile=str(trust.file))
    sender = Sender(BOX, UrlRules(local=True), lookup=_loopback, trust=context)
    attempt = await sender.send(_webhook(f"https://{host}:{port}/a"), DELIVERY)
    assert (attempt.status, attempt.answer) == (418, f"host: {host}:{port}")


async def test_certificate_of_another_name_is_refused(trust: Authority, port: int) -> None:
    context = ssl.create_default_context(cafile=str(trust.file))
    rules = UrlRules(["hooks.example.org"])
    sender = Sender(BOX, rules, lookup=_loopback, trust=context)
    attempt = await sender.send(_webhook(f"https://hooks.example.org:{port}/a"), DELIVERY)
    assert attempt.status == 0
    assert "certificate" in attempt.error.lower()


async def test_certificate_of_an_unknown_authority_is_refused(port: int) -> None:
    sender = Sender(BOX, UrlRules(local=True), lookup=_loopback)
    attempt = await sender.send(_webhook(f"https://localhost:{port}/a"), DELIVERY)
    assert "certificate" in attempt.error.lower()


async def test_proxy_of_the_environment_is_not_used(
    trust: Authority, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    context = ssl.create_default_context(cafile=str(trust.file))
    sender = Sender(BOX, UrlRules(local=True), lookup=_loopback, trust=context)
    assert (await sender.send(_webhook(f"https://localhost:{port}/a"), DELIVERY)).status == 418


async def test_name_that_is_unknown_or_no_longer_allowed_is_an_error_not_a_crash() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    sender = Sender(BOX, UrlRules(), lookup=unknown)
    attempt = await sender.send(_webhook("https://hooks.example.org/T0/token"), DELIVERY)
    assert attempt.error == "hooks.example.org:443: [Errno -2] Name or service not known"
    strict = Sender(BOX, UrlRules(["other.example.org"]), lookup=_loopback)
    attempt = await strict.send(_webhook("https://hooks.example.org/T0/token"), DELIVERY)
    assert "webhooks may not call" in attempt.error
    assert "token" not in attempt.error


async def test_secret_whose_key_is_gone_is_an_error_that_says_so() -> None:
    sender = Sender(BOX, UrlRules(local=True), lookup=_loopback)
    attempt = await sender.send(_webhook("http://127.0.0.1:9/", SecretSeed("00", "of another key")), DELIVERY)
    assert "VALIGN_ORCHESTRATOR_WEBHOOK_FORMER_KEYS" in attempt.error
