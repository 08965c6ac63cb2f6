"""``valign assets``, and the task files that ``valign run`` sends along."""

import hashlib
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, FakeApi

TASK = '{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'
DIGEST = hashlib.sha256(TASK.encode()).hexdigest()


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "Sums v1.jsonl"
    path.write_text(TASK, encoding="utf-8")
    return path


def test_add_takes_the_name_from_the_file_and_prints_the_hash(cli: Cli, api: FakeApi, task: Path) -> None:
    assert cli("assets", "add", str(task)) == 0
    assert cli.out == f"task sums-v1: {DIGEST} ({len(TASK)} bytes)\n"
    assert cli("assets", "add", str(task), "--kind", "ruler", "--name", "mine", "--json") == 0
    assert (cli.json["kind"], cli.json["name"]) == ("ruler", "mine")


def test_add_file_with_a_fault_shows_its_line(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{bad\n", encoding="utf-8")
    assert cli("assets", "add", str(path)) == 1
    assert "bad.jsonl:1:1: not a JSON object" in cli.err
    assert cli("assets", "add", str(tmp_path / "gone.jsonl")) == 1
    assert "gone.jsonl can't be read" in cli.err


def test_list_show_and_get_by_the_beginning_of_the_hash(
    cli: Cli, api: FakeApi, task: Path, tmp_path: Path
) -> None:
    api.assets[DIGEST] = TASK.encode()
    assert cli("assets", "list") == 0
    assert DIGEST in cli.out.replace("\n", "")
    assert cli("assets", "show", DIGEST[:8]) == 0
    assert f"sha256   {DIGEST}" in cli.out
    output = tmp_path / "again.jsonl"
    assert cli("assets", "get", DIGEST[:8], "-o", str(output)) == 0
    assert output.read_text() == TASK
    assert cli("assets", "get", DIGEST, "-o", str(tmp_path / "no" / "folder")) == 1
    assert "can't be written" in cli.err


def test_show_unknown_or_ambiguous_beginning_is_refused(cli: Cli, api: FakeApi) -> None:
    assert cli("assets", "show", "ab") == 1
    assert "No asset begins with 'ab'" in cli.err
    api.assets |= {"ab" + "0" * 62: b"", "ab" + "1" * 62: b""}
    assert cli("assets", "show", "ab") == 1
    assert "2 assets begin with 'ab'" in cli.err


def test_run_sends_the_task_files_before_the_study(cli: Cli, api: FakeApi, task: Path) -> None:
    study = task.with_name("study.yaml")
    study.write_text("name: a\nguards:\n  tasks:\n    - file: Sums v1.jsonl\n", encoding="utf-8")
    assert cli("run", str(study), "--detach") == 0
    [asset, run] = api.posted
    assert asset[0] == "/assets?kind=task&name=sums-v1"
    assert asset[2] == TASK
    assert run[0] == "/runs"
    assert DIGEST in run[2]


def test_run_task_file_with_a_fault_starts_nothing(cli: Cli, api: FakeApi, task: Path) -> None:
    task.write_text("{bad\n", encoding="utf-8")
    study = task.with_name("study.yaml")
    study.write_text("name: a\nguards: {tasks: [{file: Sums v1.jsonl}]}\n", encoding="utf-8")
    assert cli("run", str(study)) == 1
    assert "Sums v1.jsonl:1:1: not a JSON object" in cli.err
    assert api.runs == {}
