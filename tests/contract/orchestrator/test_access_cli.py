"""The command line against a real orchestrator that asks for a credential."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.cli.__main__ import main
from services.cli.api import Api
from services.cli.errors import CliError
from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import world
from tests.fakes.servers import http_server

Valign = Callable[..., "asyncio.Future[tuple[int, str, str]]"]


@pytest.fixture
async def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An admin's key; VALIGN_URL leads to the orchestrator that knows it."""
    with world(tmp_path) as here:
        keys = ApiKeys(here.store.api_keys)
        _, token = await keys.create("operator", ["admin"], create_by="test")
        app = build_http_app(here.application, access=Access(required=True, keys=keys))
        async with http_server(app) as url:
            monkeypatch.setenv("VALIGN_URL", url)
            yield token


@pytest.fixture
def valign(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Valign:
    """Runs a command in a thread, as the server runs in this one: exit code, stdout, stderr."""

    async def run(key: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("VALIGN_API_KEY", key)

        def in_thread() -> int:
            try:
                main(arguments)
            except SystemExit as ended:
                return int(ended.code or 0)
            return 0

        # The server's own lines would stand between those of the command.
        with capture_logs():
            code = await asyncio.to_thread(in_thread)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run  # type: ignore[return-value]


async def test_key_is_made_used_listed_and_revoked(admin: str, valign: Valign) -> None:
    code, token, told = await valign(
        admin, "keys", "create", "--name", "ci", "--scopes", "run, read", "--days", "1"
    )
    token = token.strip()
    assert (code, token.startswith("valign_")) == (0, True)
    assert "It is shown this once" in told
    assert await valign(token, "whoami") == (0, "key:ci: read, run\n", "")
    _, listed, _ = await valign(admin, "keys", "list", "--json")
    assert [key["name"] for key in json.loads(listed)["api_keys"]] == ["ci", "operator"]
    _, shown, _ = await valign(admin, "keys", "list")
    assert "operator" in shown
    assert token.split("_", 2)[2] not in listed + shown
    code, said, _ = await valign(admin, "keys", "revoke", token.split("_")[1])
    assert (code, "is revoked since" in said) == (0, True)
    code, _, refused = await valign(token, "whoami")
    assert (code, "revoked" in refused, "VALIGN_API_KEY" in refused) == (1, True, True)


async def test_command_without_a_key_or_scope_says_what_to_do(admin: str, valign: Valign) -> None:
    code, _, refused = await valign("", "runs")
    assert (code, "VALIGN_API_KEY" in refused, "valign keys create" in refused) == (1, True, True)
    _, token, _ = await valign(admin, "keys", "create", "--name", "reader")
    code, _, refused = await valign(token.strip(), "keys", "list", "--json")
    assert code == 1
    assert json.loads(refused)["code"] == "FORBIDDEN"
    code, _, refused = await valign(admin, "keys", "create", "--name", "x", "--scopes", "root")
    assert (code, "read, run, approve, promote, admin" in refused) == (1, True)


def test_key_is_sent_in_the_clear_to_this_machine_alone(tmp_path: Path) -> None:
    for url in ("http://valign.example", "http://127.0.0.1.evil.example", "http://evil.example//127.0.0.1"):
        with pytest.raises(CliError, match="not https"):
            Api(url, 1.0, api_key="valign_x")
    for url in ("https://valign.example", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"):
        Api(url, 1.0, api_key="valign_x").__exit__()
    with pytest.raises(CliError, match="characters"):
        Api("https://valign.example", 1.0, api_key="a\nb: c")
    with pytest.raises(CliError, match="VALIGN_CA_FILE"):
        Api("https://valign.example", 1.0, ca_file=tmp_path / "none.pem")
