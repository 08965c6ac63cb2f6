"""What docs/examples hold really runs, against a real server, and ends as it says."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World, world
from tests.served import served
from tests.verdicts import play

EXAMPLES = Path("docs/examples").resolve()
GATE = EXAMPLES / "github-actions" / "gate.py"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def url(here: World) -> Iterator[str]:
    with served(build_http_app(here.application)) as address:
        yield address


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "release.yaml"
    file.write_text("name: release\n")
    return file


def _run(command: list[str], url: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VALIGN_")}
    path = {"PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        command,
        env={**kept, **path, "VALIGN_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("decision", "status"), [("promote", 0), ("reject", 1), ("hold", 2), ("fail", 3), ("none", 3)]
)
def test_gate_ends_with_the_verdict(
    here: World, url: str, study: Path, tmp_path: Path, decision: str, status: int
) -> None:
    play(here, decision)
    summary = tmp_path / "summary.md"
    command = [sys.executable, str(GATE), str(study), "--key", "pr-1", "--summary", str(summary)]
    ended = _run(command, url)
    assert ended.returncode == status, ended.stderr
    again = _run(command, url)
    assert (again.returncode, len(here.store.list_runs()[0])) == (status, 1)
    if decision in ("promote", "hold", "reject"):
        text = summary.read_text()
        assert text.startswith(f"## valign: {decision}\n")
        assert "| `reduction` |" in text


def test_gate_without_an_orchestrator_or_with_a_wrong_study_has_no_verdict(
    url: str, study: Path, tmp_path: Path
) -> None:
    away = _run([sys.executable, str(GATE), str(study)], "http://127.0.0.1:9")
    assert (away.returncode, "no orchestrator answers" in away.stderr) == (3, True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("nmae: x\n")
    refused = _run([sys.executable, str(GATE), str(wrong)], url)
    assert (refused.returncode, "nmae" in refused.stderr) == (3, True)


def test_workflow_is_one_that_calls_the_gate_and_fails_on_a_reject(tmp_path: Path) -> None:
    workflow = yaml.safe_load((EXAMPLES / "github-actions" / "values-gate.yml").read_text())
    job = workflow["jobs"]["gate"]
    # "on" is a boolean to YAML 1.1.
    assert set(workflow[True]) == {"pull_request"}
    assert {"VALIGN_URL", "VALIGN_TOKEN"} == set(job["env"])
    script = next(step["run"] for step in job["steps"] if step.get("id") == "gate")
    # The script itself, with a gate in place of ours that ends as the test wants it.
    shell = tmp_path / "python"
    shell.write_text('#!/bin/sh\nexit "$GATE_ENDS"\n')
    shell.chmod(0o755)
    script = script.replace("${{ github.event.pull_request.number }}", "1").replace(
        "${{ github.sha }}", "abc"
    )
    assert "${{" not in script
    for ends, expected in ((0, 0), (1, 1), (2, 0), (3, 3)):
        env = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "GATE_ENDS": str(ends),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "s"),
            "GITHUB_OUTPUT": str(tmp_path / "o"),
        }
        ended = subprocess.run(
            ["bash", "-e", "-c", script], env=env, capture_output=True, text=True, check=False
        )
        assert ended.returncode == expected
        assert ("::warning" in ended.stdout) == (ends == 2)


@pytest.mark.parametrize(("decision", "status"), [("promote", 0), ("reject", 3), ("hold", 3), ("fail", 1)])
def test_argo_step_runs_the_command_that_its_template_names(
    here: World, url: str, study: Path, decision: str, status: int
) -> None:
    template = yaml.safe_load((EXAMPLES / "argo" / "values-gate.yaml").read_text())
    gate = template["spec"]["templates"][0]
    words = {"/studies/{{inputs.parameters.study}}": str(study), "argo-{{workflow.uid}}": "argo-1"}
    arguments = [words.get(word, word) for word in gate["container"]["args"]]
    assert not [word for word in arguments if "{{" in word]
    play(here, decision)
    command = [sys.executable, "-m", "services.cli", *arguments]
    assert gate["container"]["command"] == ["valign"]
    for _ in range(2):
        assert _run(command, url).returncode == status
    assert len(here.store.list_runs()[0]) == 1
    # Airflow's and Argo's retries: a verdict is none to try again for.
    assert gate["retryStrategy"]["expression"].endswith("!= 3")


def test_airflow_dag_compiles_and_names_methods_that_the_client_has() -> None:
    source = (EXAMPLES / "airflow" / "values_gate.py").read_text()
    tree = ast.parse(source)
    compile(tree, "values_gate.py", "exec")
    from services.client import Client

    with Client("http://127.0.0.1:9") as client:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                owner = node.value
                if isinstance(owner.value, ast.Name) and owner.value.id == "valign":
                    assert callable(getattr(getattr(client, owner.attr), node.attr))


def test_notebook_is_valid_and_its_cells_run(
    here: World, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = nbformat.read(EXAMPLES / "notebook" / "study.ipynb", as_version=4)
    nbformat.validate(notebook)
    play(here, "hold")
    monkeypatch.setenv("VALIGN_URL", url)
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            exec(compile(cell.source, "cell", "exec"), names)  # noqa: S102 - what the notebook is for
    printed = capsys.readouterr().out
    assert "run.succeeded" in printed
    assert "succeeded | hold |" in printed
