"""``valign plan``: what it prints, and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from services.cli.api import Api
from services.generator.settings import GeneratorSettings
from services.orchestrator.planning.document import PlanRequest
from services.orchestrator.planning.plan import make_plan
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study, resolve
from services.trainer.settings import TrainerSettings
from tests.unit.cli.conftest import Cli


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stand-in answers with the orchestrator's own plan of what it was asked."""
    asked: list[dict[str, Any]] = []

    def post(self: Api, path: str, body: dict[str, Any]) -> Any:
        asked.append(body)
        request = PlanRequest.model_validate(body)
        return make_plan(request, resolve(Study(name="demo")), Given()).model_dump(mode="json")

    monkeypatch.setattr(Api, "post_json", post)
    return asked


def test_plan_that_fits_exits_0_and_says_what_it_assumes(cli: Cli, planned: list[dict[str, Any]]) -> None:
    assert cli("plan", "demo", "--shape", "8b", "--device", "h100") == 0
    for part in ("uncover", "1,200", "generation on 1 x h100", "fits", "assumed:", "data sheet"):
        assert part in cli.out
    assert planned[0]["study"] == "# The demo\nname: demo\n"


def test_plan_that_does_not_fit_exits_4_and_says_why(cli: Cli) -> None:
    assert cli("plan", "demo", "--shape", "70b", "--device", "h100") == 4
    assert "does not fit: generation needs" in cli.out


def test_plan_json_is_the_answer(cli: Cli) -> None:
    assert cli("plan", "demo", "--shape", "70b", "--device", "l4", "--json") == 4
    assert cli.json["fits"] is False


def test_plan_asks_for_what_was_given_and_nothing_else(cli: Cli, planned: list[dict[str, Any]]) -> None:
    limits = {
        **{"gpu_memory_utilization": 0.8, "max_model_len": 1024, "max_num_seqs": 64, "max_loras": 1},
        **{"max_lora_rank": 32, "pipeline_gpus": 2, "copies": 3, "training_gpus": 2},
    }
    options = [part for name, value in limits.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    assert cli("plan", "demo", "--shape", "8b", "--sharding", "fsdp2", *options) == 0
    # What is left out must stay out: it is then taken from what serves.
    assert planned[0] == {
        **limits,
        **{"study": "# The demo\nname: demo\n", "shape": "8b", "sharding": "fsdp2", "checkpointing": False},
    }


def test_plan_help_names_the_setting_of_each_option(cli: Cli) -> None:
    assert cli("plan", "--help") == 0
    settings = {**GeneratorSettings.model_fields, **TrainerSettings.model_fields}
    named = re.findall(r"VALIGN_(?:GENERATOR|TRAINER)_(\w+)", cli.out)
    assert len(named) == 12
    assert {name.lower() for name in named} <= settings.keys()


STUDY = "name: mine\nprinciples_per_topic: 10\n"


@pytest.fixture
def nobody(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """No orchestrator answers; the planner's program is this tree's."""
    monkeypatch.undo()
    monkeypatch.setenv("VALIGN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    return cli


def test_plan_without_orchestrator_is_made_here_and_says_so(nobody: Cli, tmp_path: Path) -> None:
    task = {"question": "2+2=", "choices": ["4", "5"], "answer": 0}
    (tmp_path / "sums.jsonl").write_text(json.dumps(task) + "\n")
    (tmp_path / "study.yaml").write_text(STUDY + "guards:\n  tasks:\n    - file: sums.jsonl\n")
    study = str(tmp_path / "study.yaml")
    assert nobody("plan", study, "--shape", "8b", "--device", "h100", "--json") == 0
    found = nobody.json
    assert "No orchestrator answers at http://127.0.0.1:9" in nobody.err
    assert found["assumptions"][0].startswith("No orchestrator was asked")
    assert any("max_model_len is taken to be 2048" in sentence for sentence in found["assumptions"])
    assert {speed["source"] for speed in found["speeds"]} == {"data sheet"}
    assert found["stages"][0]["expected"]["completions"] == 120


def test_plan_offline_asks_nobody_and_knows_the_shipped_studies(cli: Cli, nobody: Cli) -> None:
    assert nobody("plan", "demo", "--offline", "--training-gpus", "64") == 4
    assert "does not fit: " in nobody.out
    assert "would have no example" in nobody.out
    assert nobody.err == ""
    assert nobody("plan", "demos", "--offline") == 1
    assert "no shipped study 'demos'; there are: demo" in nobody.err


def test_plan_here_points_into_a_study_that_is_wrong(nobody: Cli, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("name: mine\nprincipels: 3\n")
    assert nobody("plan", str(study), "--offline") == 1
    assert f"{study}:2:1: principels: unknown key" in nobody.err


def test_plan_here_of_what_only_an_orchestrator_keeps_says_to_ask_it(nobody: Cli, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY + f'ruler: "{"a" * 64}"\n')
    assert nobody("plan", str(study), "--offline") == 1
    assert "which an orchestrator keeps; ask that one" in nobody.err


def test_plan_without_orchestrator_and_model_says_what_to_do(nobody: Cli) -> None:
    assert nobody("plan", "demo") == 1
    assert "say --shape or --model-config, or --offline" in nobody.err


def test_plan_here_without_the_planner_says_what_to_install(
    nobody: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.cli.planner._PLANNER", "no_such_planner")
    assert nobody("plan", "demo", "--offline") == 1
    assert "No module named no_such_planner" in nobody.err
    assert "Install valign[orchestrator] here" in nobody.err
