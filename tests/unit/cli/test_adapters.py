"""``valign adapters`` and ``valign routes``, against the real REST API."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.cli.__main__ import main
from services.orchestrator.api import build_http_app
from services.orchestrator.registry.records import AdapterState
from tests.fakes.orchestrator import World, world
from tests.fakes.registry import add
from tests.fakes.servers import http_server


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An orchestrator without replicas, in a thread of its own."""
    ready, end = threading.Event(), threading.Event()
    urls: list[str] = []
    # The orchestrator's log would stand between what the command line prints.
    with world(tmp_path) as made, capture_logs():

        async def serve() -> None:
            async with http_server(build_http_app(made.application)) as url:
                urls.append(url)
                ready.set()
                while not end.is_set():
                    await asyncio.sleep(0.02)

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert ready.wait(20)
        monkeypatch.setenv("VALIGN_URL", urls[0])
        yield made
        end.set()
        thread.join(20)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_adapters_from_the_list_to_the_route_and_back(here: World, capsys) -> None:
    add(here.store.registry, "cand")
    add(here.store.registry, "held", state=AdapterState.PROVEN)
    code, out, _ = run(capsys, "adapters", "list")
    assert (code, "cand" in out, "held" in out) == (0, True, True)
    code, out, _ = run(capsys, "adapters", "list", "--state", "candidate", "--limit", "1", "--json")
    assert [one["name"] for one in json.loads(out)["adapters"]] == ["cand"]
    code, out, _ = run(capsys, "adapters", "show", "cand")
    assert (code, "state    candidate" in out, "history" in out) == (0, True, True)
    code, out, _ = run(capsys, "adapters", "promote", "cand")
    assert (code, out.splitlines()[0]) == (0, "valign serves cand (version 1): settled")
    code, _, err = run(capsys, "adapters", "promote", "held")
    assert (code, "not a candidate" in err) == (1, True)
    code, out, _ = run(capsys, "adapters", "promote", "held", "--override-reason", "needed", "--json")
    assert json.loads(out)["adapter"] == "held"
    code, out, _ = run(capsys, "routes", "rollback", "--reason", "rude")
    assert out.startswith("valign serves cand (version 3)")
    code, out, _ = run(capsys, "routes", "rollback", "--to", "base")
    assert out.startswith("valign serves the base model (version 4)")
    code, out, _ = run(capsys, "routes", "canary", "0.1", "--adapter", "cand")
    assert "canary cand (10.0%)" in out
    code, out, _ = run(capsys, "routes", "list")
    assert (code, "the base model" in out, "10.0%" in out) == (0, True, True)
    code, out, _ = run(capsys, "routes", "show")
    assert (code, "rolled back: rude" in out) == (0, True)
    code, out, _ = run(capsys, "routes", "show", "--json")
    assert [one["version"] for one in json.loads(out)["history"]] == [5, 4, 3, 2, 1]


def test_approve_reject_and_prune(here: World, capsys) -> None:
    add(here.store.registry, "a", "b", approval_required=True)
    code, out, _ = run(capsys, "adapters", "approve", "a", "--comment", "fine")
    assert (code, out) == (0, "a: approved; it is candidate\n")
    code, out, _ = run(capsys, "adapters", "show", "a")
    assert "approvals" in out
    code, out, _ = run(capsys, "adapters", "reject", "b", "--reason", "rude", "--json")
    assert json.loads(out)["state"] == "rejected"
    code, _, err = run(capsys, "adapters", "promote", "b", "--override-reason", "x")
    assert (code, "is rejected (rude)" in err) == (1, True)
    code, out, _ = run(capsys, "adapters", "prune", "--dry-run")
    assert (code, out) == (0, "0 adapters would be pruned\n")
    code, out, _ = run(capsys, "adapters", "prune", "--json")
    assert json.loads(out) == {"pruned": []}


def test_unknown_names_fail_with_a_message(here: World, capsys) -> None:
    for arguments in (("adapters", "show", "none"), ("routes", "show", "none"), ("routes", "rollback")):
        code, _, err = run(capsys, *arguments)
        assert (code, err.startswith("error: ")) == (1, True)
