import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from services.cli import watch
from services.cli.api import Api
from services.cli.commands.init import template
from services.cli.errors import ApiError, UnreachableError
from services.cli.progress import RunState
from tests.unit.cli.conftest import Cli, FakeApi, make_report, make_run

EVENTS = [
    ("run.started", {}),
    ("stage.started", {"stage": "uncover"}),
    ("stage.progress", {"stage": "uncover", "done": 6, "total": 6}),
    ("stage.ended", {"stage": "uncover", "duration_s": 3.0}),
    ("iteration.ended", {"iteration": 1, "validation_mean": 0.46, "relative_improvement": 0.378}),
    ("run.succeeded", {}),
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text("name: mine\n")
    return path


def test_run_shipped_study_watches_to_the_end_and_prints_the_table(cli: Cli, api: FakeApi) -> None:
    api.events = EVENTS
    assert cli("run", "demo") == 0
    assert api.posted[0][2] == "# The demo\nname: demo\n"
    for part in ("run r-1", "uncover: 6/6", "Security and Privacy", "0.450", "-40.0%", "not evidence"):
        assert part in cli.out


def test_run_file_posts_yaml_with_the_key(cli: Cli, api: FakeApi, study: Path) -> None:
    assert cli("run", str(study), "--detach", "--idempotency-key", "k1", "--json") == 0
    _, headers, text = api.posted[0]
    assert headers["idempotency-key"] == "k1"
    assert headers["content-type"] == "application/yaml"
    assert text == "name: mine\n"
    assert cli.json["run_id"] == "r-1"


def test_run_that_fails_exits_1_and_says_why(cli: Cli, api: FakeApi, study: Path) -> None:
    api.events = [("run.failed", {"code": "PRECONDITION", "message": "too few pairs"})]
    api.ends_as = "failed"
    api.runs["r-1"] = make_run("r-1")
    assert cli("run", str(study)) == 1
    assert "too few pairs" in cli.out
    assert "failed" in cli.err


def test_run_json_prints_an_event_a_line_and_the_run_last(cli: Cli, api: FakeApi, study: Path) -> None:
    api.events = EVENTS
    assert cli("run", str(study), "--json") == 0
    lines = [json.loads(line) for line in cli.out.splitlines()]
    assert [line["kind"] for line in lines[:-1]] == [kind for kind, _ in EVENTS]
    assert lines[-1]["status"] == "succeeded"


def test_run_with_a_fault_points_at_the_line(cli: Cli, study: Path) -> None:
    study.write_text("name: mine\nprincipels_per_topic: 3\n")
    assert cli("run", str(study)) == 1
    assert f"{study}:2:1: principels_per_topic: unknown key" in cli.err
    assert "    principels_per_topic: 3\n    ^" in cli.err


def test_run_with_a_bad_reference_set_points_into_the_sets_own_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "refs.yaml").write_text("id: mine\nx:\n  bad\n")
    study = tmp_path / "s.yaml"
    study.write_text("name: a\nreference_set: refs.yaml\n")
    assert cli("run", str(study)) == 1
    assert f"{tmp_path / 'refs.yaml'}:2:3: principles[0]: must not be empty" in cli.err


def test_run_missing_file_names_the_remedy(cli: Cli) -> None:
    assert cli("run", "nowhere.yaml") == 1
    assert "no study file nowhere.yaml" in cli.err
    assert "valign init" in cli.err


def test_run_unknown_shipped_name_exits_1(cli: Cli) -> None:
    assert cli("run", "nothing") == 1
    assert "no shipped study 'nothing'" in cli.err


def test_watch_lost_connection_goes_on_after_the_last_event(cli: Cli, api: FakeApi) -> None:
    api.runs["r-1"] = make_run("r-1")
    api.events, api.drop_after = EVENTS, 3
    assert cli("watch", "r-1", "--json") == 0
    assert api.last_event_ids == ["", "3"]
    assert [json.loads(line).get("number") for line in cli.out.splitlines()[:-1]] == [1, 2, 3, 4, 5, 6]
    assert "connection lost" in cli.err


def test_follow_server_gone_gives_up_in_the_end(api: FakeApi) -> None:
    with Api("http://127.0.0.1:9", 1.0) as nowhere, pytest.raises(UnreachableError):
        watch.follow(nowhere, RunState("r-1"), print, print, give_up_after_s=0.0)


def test_watch_interrupted_leaves_the_run_and_exits_130(api: FakeApi, tmp_path: Path) -> None:
    api.runs["r-1"] = make_run("r-1")
    api.events, api.hold_open = EVENTS[:2], True
    command = [sys.executable, "-m", "services.cli", "watch", "r-1", "--url", api.url]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal: what is started in the background ignores the signal, and so would its child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    while "uncover: started" not in process.stdout.readline():
        time.sleep(0.01)
    process.send_signal(2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run r-1 goes on" in err
    assert "valign cancel r-1" in err
    assert api.runs["r-1"]["status"] == "running"


def test_watch_on_a_terminal_draws_the_stages_live(api: FakeApi) -> None:
    api.runs["r-1"] = make_run("r-1")
    api.events = EVENTS
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "services.cli", "watch", "r-1", "--url", api.url]
    environment = {**os.environ, "COLUMNS": "120", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # Linux reports a closed terminal as an error
        while part := os.read(ours, 65536):
            text += part
    os.close(ours)
    assert process.wait(20) == 0
    for expected in (b"uncover", b"0.4600", b"+37.8%", b"Security and Privacy", b"\x1b["):
        assert expected in text


def test_runs_follows_pages_up_to_the_limit(cli: Cli, api: FakeApi) -> None:
    api.runs = {f"r-{n}": make_run(f"r-{n}") for n in range(5)}
    assert cli("runs", "--limit", "3", "--json") == 0
    assert [run["run_id"] for run in cli.json["runs"]] == ["r-4", "r-3", "r-2"]
    assert cli("runs") == 0
    assert "2026-11-21 14:03:05" in cli.out


def test_version_is_the_installed_packages(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version") == 0
    assert cli.out.strip() == f"valign {version('valign')}"


def test_show_latest_is_the_newest(cli: Cli, api: FakeApi) -> None:
    api.runs = {f"r-{n}": make_run(f"r-{n}") for n in range(2)}
    assert cli("show", "latest") == 0
    assert "r-1" in cli.out
    assert "3/6" in cli.out


def test_show_latest_without_runs_says_how_to_start_one(cli: Cli) -> None:
    assert cli("show", "--json") == 1
    problem = json.loads(cli.err)
    assert problem["code"] == "NOT_FOUND"
    assert "valign run demo" in problem["remedy"]


def test_show_unknown_run_with_json_is_the_servers_problem(cli: Cli) -> None:
    assert cli("show", "r-404", "--json") == 1
    assert json.loads(cli.err)["request_id"] == "r1"
    assert cli.out == ""


def test_cancel_prints_the_status(cli: Cli, api: FakeApi) -> None:
    api.runs["r-1"] = make_run("r-1")
    assert cli("cancel", "latest") == 0
    assert cli.out == "run r-1: cancelled\n"


def test_report_writes_the_page_and_prints_the_table(cli: Cli, api: FakeApi, tmp_path: Path) -> None:
    api.runs["r-1"] = make_run("r-1", "succeeded")
    page = tmp_path / "report.html"
    assert cli("report", "--html", str(page)) == 0
    assert page.read_text() == "<html>report</html>"
    assert "constant sentence" in cli.out
    assert cli("report", "r-1", "--json") == 0
    assert cli.json == make_report()


def test_report_measured_only_shows_dashes(cli: Cli, api: FakeApi) -> None:
    api.runs["r-1"] = make_run("r-1", "succeeded")
    api.report = make_report(None, None) | {"adapter": None, "stop_reason": "too_few_pairs"}
    api.report["topics"][0]["reduction"] = None
    assert cli("report", "r-1") == 0
    assert "only measured" in cli.out


def test_refs_check_faulty_file_shows_place_and_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "refs.yaml"
    file.write_text("id: x\n  bad: 1\n")
    assert cli("refs", "check", str(file)) == 1
    assert f"error: {file} is not valid" in cli.err
    assert f"{file}:2:3: principles[0]: must not be empty\n      bad: 1\n      ^" in cli.err


def test_refs_check_good_file_exits_0(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "refs.yaml"
    file.write_text("id: x\n")
    assert cli("refs", "check", str(file)) == 0


@pytest.mark.parametrize("group", ["refs", "prompts", "studies"])
def test_list_prints_a_table_and_json(cli: Cli, group: str) -> None:
    assert cli(group, "list") == 0
    assert "title" in cli.out
    assert cli(group, "list", "--json") == 0
    assert len(cli.json) == 1


def test_refs_show_prints_yaml_in_any_script(cli: Cli) -> None:
    assert cli("refs", "show", "mine") == 0
    assert yaml.safe_load(cli.out) == {"id": "mine", "title": "隐私"}
    assert "隐私" in cli.out


def test_studies_show_prints_what_run_takes(cli: Cli) -> None:
    assert cli("studies", "show", "demo") == 0
    assert cli.out == "# The demo\nname: demo\n"


def test_status_all_serving_exits_0_else_1(cli: Cli, api: FakeApi) -> None:
    assert cli("status") == 0
    assert "4 ms" in cli.out
    api.services_serving = False
    assert cli("status", "--json") == 1
    assert cli.json["services"][0]["serving"] is False


def test_no_orchestrator_says_what_was_tried_and_the_remedy(cli: Cli) -> None:
    assert cli("runs", "--url", "http://127.0.0.1:9") == 1
    assert "No orchestrator answers at http://127.0.0.1:9" in cli.err
    assert "valign up" in cli.err
    assert cli("runs", "--url", "http://127.0.0.1:9", "--json") == 1
    assert json.loads(cli.err)["code"] == "NOT_READY"


def test_api_answer_that_is_no_problem_is_quoted(api: FakeApi) -> None:
    with Api(api.url, 5.0) as client, pytest.raises(ApiError, match="answered 502: oops"):
        client.get("/broken")


def test_init_writes_the_shipped_template_once(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    assert cli("init", str(file)) == 0
    assert file.read_text() == template()
    assert yaml.safe_load(file.read_text())["principles_per_topic"] == 100
    assert cli("init", str(file)) == 1
    assert "--force" in cli.err
    assert cli("init", str(file), "--force", "--json") == 0
    assert cli.json == {"file": str(file)}


def test_bad_setting_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIGN_URL", "localhost:8080")
    assert cli("runs") == 1
    assert "VALIGN_URL is 'localhost:8080'" in cli.err


def test_unknown_command_exits_2(cli: Cli) -> None:
    assert cli("nonsense") == 2


def test_help_imports_nothing_slow() -> None:
    code = "import sys, services.cli.__main__; print([m for m in sys.modules if m in {!r}])"
    slow = ["httpx", "grpc", "yaml", "pydantic", "torch", "transformers", "vllm", "services.orchestrator"]
    done = subprocess.run(
        [sys.executable, "-c", code.format(slow)], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.replace("'", '"'))
    assert loaded == []
