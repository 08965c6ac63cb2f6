"""``measure``, ``compare`` and ``rulers`` against a stand-in of the REST API."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI, Request, Response

from tests.unit.cli.conftest import Cli, FakeApi, problem

SHA = "ab" * 32
RULER = {
    "sha256": SHA,
    "name": "bench",
    "size_bytes": 10,
    "create_time": "2026-11-21T14:03:05Z",
    "run_id": "r-1",
    "model": "benchmark-model",
    "encoder": "mpnet",
    "reference_set": "gdpr-article-5",
    "prompt_set": "small",
    "topics": ["privacy"],
    "inputs": 600,
}
ESTIMATE = {"value": 0.5, "low": 0.45, "high": 0.55, "n": 20}
RUN = {
    "name": "x",
    "model": "org/m",
    "reference_set": "a-set",
    "reference_set_version": "1",
    "decision": None,
    "test_inputs": 20,
}
COMPARISON = {
    "kind": "models",
    "ruler": SHA,
    "ruler_name": "bench",
    "topics": {"privacy": "Privacy [x]"},
    "runs": [{**RUN, "run_id": "r-1", "label": "m-1"}, {**RUN, "run_id": "r-2", "label": "m-2"}],
    "arms": [
        {
            "arm": "base_p3",
            "title": "Base model, third prompt",
            "cells": [{"run_id": "r-1", "mean": ESTIMATE, "scaled": None, "by_topic": {"privacy": ESTIMATE}}],
        }
    ],
    "own": {
        "benchmark_model": "benchmark-model",
        "benchmark": 0.4,
        "benchmark_by_topic": {"privacy": 0.41},
        "cells": [{"run_id": "r-2", "own": 0.6, "by_topic": {"privacy": 0.61}}],
    },
    "matrix": [
        {
            "run_id": "r-1",
            "model": "org/m",
            "trained_on": "base",
            "measured_against": "a-set",
            "mean": ESTIMATE,
        }
    ],
    "paired": [
        {
            "arm": "base_p3",
            "left": "r-1",
            "right": "r-2",
            "difference": ESTIMATE,
            "p_value": 0.012,
            "by_topic": {},
        }
    ],
    "warnings": ["Know this first."],
}


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in with the routes of these commands."""
    plain = FakeApi.app

    def app(self: FakeApi) -> FastAPI:
        made = plain(self)

        @made.get("/v1/rulers")
        async def rulers() -> Any:
            return {
                "rulers": [RULER, {**RULER, "sha256": "cd" * 32, "name": "twice"}, {**RULER, "name": "twice"}]
            }

        @made.post("/v1/rulers", status_code=201)
        async def freeze(request: Request) -> Any:
            body = await request.json()
            return {**RULER, "run_id": body["run_id"], "name": body["name"]}

        @made.post("/v1/compare")
        async def compare(request: Request) -> Any:
            ids = (await request.json())["run_ids"]
            if len(ids) < 2:
                return problem(412, "PRECONDITION", "these runs cannot be compared: different encoders")
            return COMPARISON

        @made.post("/v1/compare.html")
        async def page(request: Request) -> Response:
            return Response("<html>both</html>", media_type="text/html")

        return made

    monkeypatch.setattr(FakeApi, "app", app)


def sent(api: FakeApi) -> dict[str, Any]:
    """The study that was posted last."""
    found: dict[str, Any] = yaml.safe_load(api.posted[-1][2])
    return found


def test_measure_shipped_study_is_sent_as_one_that_only_measures(cli: Cli, api: FakeApi) -> None:
    assert cli("measure", "demo", "--detach") == 0
    assert sent(api) == {"name": "demo", "measure_only": True}
    assert "run r-1 queued" in cli.out


def test_measure_watches_to_the_end(cli: Cli, api: FakeApi) -> None:
    api.events = [("run.started", {"name": "demo"}), ("run.succeeded", {})]
    assert cli("measure", "demo") == 0
    assert "value difference" in cli.out


def test_measure_endpoint_and_ruler_are_put_into_the_study(cli: Cli, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "# mine\nname: mine\nmeasure_only: false  # not yet\nendpoint:\n  url: https://old.example/v1\n"
        "  model: old\n  timeout_s: 7\n\nruler: null\nseed: 3\n"
    )
    args = ("--endpoint", "https://api.example.org/v1", "--model", "their-model", "--ruler", "bench")
    assert cli("measure", str(file), *args, "--detach", "--json") == 0
    assert sent(api) == {
        "name": "mine",
        "measure_only": True,
        "endpoint": {"url": "https://api.example.org/v1", "model": "their-model", "timeout_s": 7},
        "ruler": SHA,
        "seed": 3,
    }
    lines = api.posted[-1][2].splitlines()
    assert lines[0] == "# mine"
    assert lines[9] == "seed: 3"
    assert cli.json["run_id"] == "r-1"


def test_measure_flow_style_study_is_understood(cli: Cli, api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text('{"name": "mine", "seed": 3}')
    assert cli("measure", str(file), "--detach") == 0
    assert sent(api) == {"name": "mine", "seed": 3, "measure_only": True}


@pytest.mark.parametrize("text", ["name: [", "- a list\n", ""])
def test_measure_what_is_no_study_is_left_to_the_orchestrator(
    cli: Cli, api: FakeApi, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    cli("measure", str(file), "--detach")
    assert api.posted[-1][2] == text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--model", "m"), "--endpoint"),
        (("--endpoint", "https://api.example.org/v1"), "--model"),
        (("--endpoint", "https://u:sk-1@api.example.org/v1", "--model", "m"), "ENDPOINT_KEYS"),
        (("--endpoint", "https://api.example.org/v1?key=sk-1", "--model", "m"), "ENDPOINT_KEYS"),
        (("--ruler", "unknown"), "valign rulers list"),
        (("--ruler", "twice"), "sha256"),
    ],
)
def test_measure_wrong_options_say_what_to_do_and_repeat_no_secret(
    cli: Cli, api: FakeApi, args: tuple[str, ...], words: str
) -> None:
    assert cli("measure", "demo", *args) != 0
    assert words in cli.err
    assert "sk-1" not in cli.err + cli.out
    assert api.posted == []


def test_measure_help_names_the_key_setting_and_examples(cli: Cli) -> None:
    assert cli("measure", "--help") == 0
    text = " ".join(cli.out.split())
    assert "VALIGN_ORCHESTRATOR_ENDPOINT_KEYS" in text
    assert "valign measure demo --ruler" in text


def test_rulers_freeze_and_list(cli: Cli) -> None:
    assert cli("rulers", "freeze", "r-9", "--name", "bench") == 0
    assert f"sha256 {SHA}" in cli.out
    assert "valign measure STUDY --ruler bench" in cli.out
    assert cli("rulers", "list") == 0
    assert "benchmark-model" in cli.out
    assert cli("rulers", "list", "--json") == 0
    assert len(cli.json["rulers"]) == 3


def test_measure_ruler_by_the_beginning_of_its_hash(cli: Cli, api: FakeApi) -> None:
    assert cli("measure", "demo", "--ruler", "cd" * 5, "--detach") == 0
    assert sent(api)["ruler"] == "cd" * 32


def test_compare_prints_warnings_first_then_every_part(cli: Cli) -> None:
    assert cli("compare", "r-1", "r-2") == 0
    for words in (
        "by ruler bench",
        "Know this first.",
        "Privacy [x]",
        "0.500 [0.450, 0.550]",
        "benchmark (benchmark-model)",
        "0.012",
        "trained on x measured against",
    ):
        assert words in cli.out, words
    assert cli.out.index("Know this first.") < cli.out.index("0.500 [")


def test_compare_json_and_page(cli: Cli, tmp_path: Path) -> None:
    assert cli("compare", "r-1", "r-2", "--json") == 0
    assert cli.json == COMPARISON
    file = tmp_path / "both.html"
    assert cli("compare", "r-1", "r-2", "--html", str(file)) == 0
    assert file.read_text() == "<html>both</html>"
    assert str(file) in cli.out
    assert cli("compare", "r-1", "r-2", "--html", str(tmp_path / "none" / "x.html")) == 1


def test_compare_refusal_is_told_with_its_reasons(cli: Cli) -> None:
    assert cli("compare", "r-1") == 1
    assert "different encoders" in cli.err
