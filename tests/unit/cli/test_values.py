"""``valign values`` against the orchestrator's real REST application, with models that look for words."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs

from services.cli.commands.values import label_lines, wait
from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import world
from tests.fulcra_shape import as_lines, labels_file, rows


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A served application."""
    # Its log lines would stand between those of the command.
    with capture_logs(), world(tmp_path) as made, socket.create_server(("127.0.0.1", 0)) as listener:
        app = build_http_app(made.application)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("VALIGN_URL", address)
        yield address
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "Some Labels.jsonl"
    file.write_bytes(labels_file(120))
    return file


def test_train_prints_the_agreement_and_how_a_study_names_the_head(cli: Any, url: str, labels: Path) -> None:
    assert cli("values", "train", str(labels), "--url", url) == 0
    assert "240 dialogues used of 240 lines." in cli.out
    assert "security" in cli.out
    assert "not spoken of" in cli.out
    assert "head some-labels: " in cli.out
    assert "values: {evaluator: head, head: " in cli.out
    assert cli.err == ""


def test_train_as_json_can_be_shown_again(cli: Any, url: str, labels: Path) -> None:
    assert cli("values", "train", str(labels), "--seed", "4", "--json", "--url", url) == 0
    job = cli.json
    assert (job["state"], job["facts"]["seed"]) == ("succeeded", 4)
    assert cli("values", "show", job["sha256"], "--json", "--url", url) == 0
    assert cli.json["agreement"] == job["agreement"]


def test_train_tells_what_was_wrong_with_the_labels(cli: Any, url: str, tmp_path: Path) -> None:
    clean = rows(60)
    dirty = [
        *clean,
        clean[0],
        "{",
        {**clean[1], "dialogue": "Human: a\nBob: b", "value_types": ["face: 1", "power:2"]},
    ]
    file = tmp_path / "dirty.jsonl"
    file.write_text(as_lines(dirty))
    assert cli("values", "train", str(file), "--url", url) == 0
    assert "Left out: 1 not JSON." in cli.out
    assert "Repeated lines, counted once: 1." in cli.out
    assert "none of the ten values, left out: face 1." in cli.out
    assert "none of +1, 0, -1, so unknown there: power 1." in cli.out


def test_file_without_labels_is_an_error_with_the_reason(cli: Any, url: str, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text("hello\n")
    assert cli("values", "train", str(file), "--url", url) == 1
    assert "no labelled row could be used (1 not JSON)" in cli.err
    assert cli("values", "train", str(tmp_path / "missing.jsonl"), "--url", url) == 1
    assert "can't be read" in cli.err


def test_evaluate_measures_the_judge(cli: Any, url: str, labels: Path) -> None:
    assert cli("values", "evaluate", str(labels), "--judge", "--limit", "30", "--url", url) == 0
    assert "agreement of the judge some-labels: " in cli.out
    assert "evaluator: judge, agreement: " in cli.out


def test_evaluate_without_an_evaluator_says_which(cli: Any, url: str, labels: Path) -> None:
    assert cli("values", "evaluate", str(labels), "--url", url) == 2
    assert "--judge" in cli.err


def test_list_shows_ten_values(cli: Any, url: str) -> None:
    assert cli("values", "list", "--url", url) == 0
    assert "universalism" in cli.out
    assert cli("values", "list", "--json", "--url", url) == 0
    assert len(json.loads(cli.out)["values"]) == 10


def test_wait_asks_until_the_job_has_ended() -> None:
    states = iter(["running", "running", "succeeded"])

    class Api:
        def get(self, path: str) -> dict[str, str]:
            assert path == "/values/heads/1"
            return {"state": next(states)}

    told: list[str] = []
    job = wait(
        Api(), "/values/heads/1", {"state": "queued"}, lambda job: told.append(job["state"]), lambda s: None
    )  # type: ignore[arg-type]
    assert job["state"] == "succeeded"
    assert told == ["queued", "running", "running", "succeeded"]


def test_clean_file_has_one_line_about_it() -> None:
    empty: dict[str, Any] = {"refused": {}, "contradictions": {}, "unreadable": {}, "unknown_values": {}}
    counts = {"rows": 2, "lines": 2, "duplicates": 0, "respelled_labels": 0, "repeated_labels": 0, **empty}
    assert label_lines(counts) == ["2 dialogues used of 2 lines."]
