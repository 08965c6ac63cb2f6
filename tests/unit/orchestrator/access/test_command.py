"""``python -m services.orchestrator.access``: the first key."""

from pathlib import Path

import pytest

from services.orchestrator.access.__main__ import main
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.identity import Scope
from services.orchestrator.store.sql import SqlRunStore


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path))
    # As where it is deployed: the tool listens nowhere, and needs none of the settings of that.
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOST", "0.0.0.0")  # noqa: S104
    return tmp_path


async def _principal(home: Path, token: str) -> object:
    store = SqlRunStore(f"sqlite:///{home}/orchestrator.db")
    try:
        return await ApiKeys(store.api_keys).principal_of(token)
    finally:
        store.close()


def test_create_list_and_revoke(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio

    assert main(["create", "--name", "operator", "--scopes", "admin,read", "--days", "1"]) == 0
    printed = capsys.readouterr()
    token = printed.out.strip()
    assert token.startswith("valign_")
    assert "\n" not in token
    principal = asyncio.run(_principal(home, token))
    assert getattr(principal, "scopes", None) == {Scope.ADMIN, Scope.READ}
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "operator  admin,read  by operator  expires" in listed
    assert token.split("_", 2)[2] not in listed
    assert main(["revoke", token.split("_")[1]]) == 0
    assert "revoked" in capsys.readouterr().out


def test_what_cannot_be_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["create", "--name", "x", "--scopes", "root"]) == 1
    assert "refused: scopes names at least one of" in capsys.readouterr().err
    assert main(["revoke", "none"]) == 1
    assert "there is no API key 'none'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
