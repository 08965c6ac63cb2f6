"""A whole study on whatever causal language model lies in a folder.

Families with a chat template are here, one without in ``test_many_generators``. They are tiny and were taught
to state principles, so a study is a matter of seconds; all services are real.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.orchestrator.report.schema import Report
from tests.e2e.conftest import ROOT, System, running_system

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

# family, chat template, steps of teaching
MODELS = {
    "llama-with-template": ("llama", True, 700),
    "gemma3-with-template": ("gemma3", True, 200),
}
FIRST = next(iter(MODELS))
TEACH = """
import sys
from pathlib import Path
from tests.lessons import lessons
from tests.tiny_models import make_tiny_model, teach

arch, folder, chat_template, steps = sys.argv[1:]
teach(make_tiny_model(arch, Path(folder), chat_template == "True"), lessons(), int(steps))
"""
TOPICS = ("security-and-privacy", "bias-removal")
STUDY: dict[str, Any] = {
    "name": "any-model",
    "reference_set": "ten-commandments",
    "topics": [
        {"id": one, "title": one.replace("-", " ").title(), "description": "It is."} for one in TOPICS
    ],
    "prompt_set": "small",
    "principles_per_topic": 4,
    "generation": {"max_new_tokens": 64},
    # Few examples: many steps of one, at a rate that a tiny model feels.
    "training": {"learning_rate": 1.0e-2, "epochs": 2, "batch_size": 1},
    "stop": {"max_iterations": 1, "min_relative_improvement": -1000},
    "arms": {"training_seeds": 1, "controls": []},
    "measurement": {"samples": 2, "resamples": 500, "permutations": 500},
    "guards": {"general_max_new_tokens": 8},
}
# Every arm there is, on one of the models: each is a training of its own.
ALL_ARMS = {"training_seeds": 2, "controls": ["uniform", "shuffled", "other"]}
FAR_TITLES = (
    "隐私与安全", "公平", "透明度", "人类监督", "环境保护", "公众理解",
    "الخصوصية والأمان", "العدالة", "الشفافية", "الرقابة البشرية", "حماية البيئة", "الفهم العام",
)  # fmt: skip


@dataclass(frozen=True)
class Served:
    """A system that serves a tiny model."""

    system: System
    model: Path
    folder: Path

    def run(self, study: dict[str, Any]) -> dict[str, Any]:
        """`valign run` to its end; the report as JSON."""
        path = self.folder / f"{study['name']}.yaml"
        path.write_text(yaml.safe_dump(study, allow_unicode=True), encoding="utf-8")
        done = self.system.valign("run", str(path), timeout_s=400)
        assert done.returncode == 0, done.stdout + done.stderr
        shown = self.system.valign("report", "latest", "--json")
        assert shown.returncode == 0, shown.stderr
        report: dict[str, Any] = json.loads(shown.stdout)
        return report


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, minilm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    arch, chat_template, steps = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    model = folder / f"tiny-{arch}"
    taught = subprocess.run(
        [sys.executable, "-c", TEACH, arch, str(model), str(chat_template), str(steps)],
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert taught.returncode == 0, taught.stderr
    with running_system(model, minilm, folder / "home") as system:
        yield Served(system, model, folder)


@pytest.mark.parametrize("served", MODELS, indirect=True)
def test_run_any_folder_trains_swaps_and_reports(served: Served) -> None:
    every = served.model.name == f"tiny-{MODELS[FIRST][0]}"
    report = served.run({**STUDY, "arms": ALL_ARMS} if every else STUDY)
    Report.model_validate(report)
    analysis = report["analysis"]
    kinds = {arm["kind"] for arm in analysis["arms"]}
    assert {"original", "base_p3", "base_reference", "tuned", "constant", "copied"} <= kinds
    if every:
        assert {"uniform", "shuffled"} <= kinds
        # So small a model may have no answer for the set that it was not taught: then the report says so.
        assert "other" in kinds or "other" in analysis["not_run"] or "aligned_other" in analysis["not_run"]
        assert {arm["training_seeds"] for arm in analysis["arms"] if arm["kind"] == "tuned"} == {2}
    assert analysis["verdict"]["decision"] in ("hold", "reject"), "two test inputs can promote nothing"
    assert report["base_model"] == served.model.name
    assert report["stop_reason"] == "max_iterations"
    assert [one["id"] for one in report["topics"]] == list(TOPICS)
    for row in (*report["topics"], report["overall"]):
        for name in ("before", "base_p3", "after", "constant"):
            assert math.isfinite(row[name]), (name, row)
    assert [one["iteration"] for one in report["iterations"]] == [0, 1]
    assert report["best_iteration"] == 1
    assert report["adapter"] == report["iterations"][1]["adapter"]
    # 4 pairs a topic: 2 of them train
    assert report["iterations"][1]["training"]["steps"] == 8
    assert {"original", "aligned", "base_p3", "realigned-i1"} <= report["counts"].keys()
    assert report["moved"]
    assert report["projection"]["points"]
    (proof,) = report["swap"]["loads"]
    assert proof["adapter"] == report["adapter"]["name"]
    assert proof["canaries"] > 0
    assert proof["max_relative_error"] <= proof["tolerance"]
    assert proof["mean_shift_nats"] > 0.5, "more than the engine's rounding"


@pytest.mark.parametrize("served", [FIRST], indirect=True)
def test_run_two_principles_of_one_topic_only_measures(served: Served) -> None:
    report = served.run({**STUDY, "name": "two", "topics": STUDY["topics"][:1], "principles_per_topic": 2})
    Report.model_validate(report)
    assert report["stop_reason"] == "too_few_pairs"
    assert report["adapter"] is None
    assert report["overall"]["before"] > 0


@pytest.mark.parametrize("served", [FIRST], indirect=True)
def test_run_twelve_topics_in_other_scripts_reports_their_names(served: Served) -> None:
    shown = served.system.valign("refs", "show", "ten-commandments").stdout
    own = {**yaml.safe_load(shown), "id": "own"}
    ids = [title.replace(" ", "-") for title in FAR_TITLES]
    numbers = [principle["id"] for principle in own["principles"]]
    own["topics"] = {topic: [numbers[place % len(numbers)]] for place, topic in enumerate(ids)}
    topics = [
        {"id": topic, "title": title, "description": title}
        for topic, title in zip(ids, FAR_TITLES, strict=True)
    ]
    study = {**STUDY, "name": "far", "reference_set": own, "topics": topics, "principles_per_topic": 2}
    report = served.run(study)
    assert [one["title"] for one in report["topics"]] == list(FAR_TITLES)
    page = served.folder / "report.html"
    assert served.system.valign("report", "latest", "--html", str(page)).returncode == 0
    html = page.read_text(encoding="utf-8")
    for title in FAR_TITLES:
        assert title in html
