"""Runs side by side: what is refused, what is warned of, and the numbers."""

from typing import Any

import pytest

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.comparing import compare
from services.orchestrator.report.comparison import render_comparison
from services.orchestrator.report.schema import DataVersion, Report
from tests.bundles import completions_of, report_of
from tests.evidence import make_evidence
from tests.unit.orchestrator.report import analyses, examples

RULER = "7" * 64


def run(run_id: str, **changes: Any) -> Report:
    """A judged run by its own reference; ``model``, ``encoder``, ``prompts``, ``references``, ``ruler``."""
    made = examples.judged()
    model = changes.pop("model", "a")
    provenance = made.provenance.model_copy(
        update={
            "model_fingerprint": model * 64,
            "encoder_fingerprint": changes.pop("encoder", "e") * 64,
            "prompt_set": DataVersion(id="small", version="1", sha256=changes.pop("prompts", "p") * 64),
            "reference_set": DataVersion(id="a-set", version="1", sha256=changes.get("references", "r") * 64),
        }
    )
    ruler = changes.pop("ruler", None)
    topics = tuple(topic.id for topic in made.topics)
    return made.model_copy(
        update={
            "run_id": run_id,
            "base_model": f"org/model-{model}",
            "reference_set": f"set-{changes.pop('references', 'r')}",
            "provenance": provenance,
            "study": {**made.study, "ruler": ruler},
            "ruler": analyses.ruler(topics) if ruler else None,
            **changes,
        }
    )


def refused(*reports: Report) -> list[str]:
    with pytest.raises(PreconditionError) as caught:
        compare(reports)
    reasons: list[str] = caught.value.details["reasons"]
    assert all(reason in caught.value.message for reason in reasons)
    return reasons


def test_compare_refuses_with_every_reason_at_once() -> None:
    reasons = refused(run("r-1"), run("r-2", encoder="f", prompts="q", ruler=RULER))
    assert len(reasons) == 3
    for words in ("different encoders", "different prompt sets", "different rulers"):
        assert any(words in reason for reason in reasons)
    assert all("r-1" in reason and "r-2" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "f"}, "encoders"),
        ({"prompts": "q"}, "prompt sets"),
        ({"ruler": RULER}, "no ruler"),
        ({"analysis": None}, "run its study again"),
    ],
)
def test_compare_each_difference_alone_is_refused(changes: dict[str, Any], words: str) -> None:
    (reason,) = refused(run("r-1"), run("r-2", **changes))
    assert words in reason


def test_compare_two_rulers_are_refused_and_both_named() -> None:
    (reason,) = refused(run("r-1", ruler=RULER), run("r-2", ruler="8" * 64))
    assert "777777777777…" in reason
    assert "888888888888…" in reason


def test_compare_runs_without_a_common_topic_is_refused() -> None:
    other = run("r-2")
    topics = tuple(topic.model_copy(update={"id": f"x-{topic.id}"}) for topic in other.topics)
    assert "no topic in common" in refused(run("r-1"), other.model_copy(update={"topics": topics}))[0]


@pytest.mark.parametrize("ids", [[], ["r-1"], ["r-1", "r-1"], [f"r-{number}" for number in range(21)]])
def test_compare_wrong_number_of_runs_is_invalid(ids: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="2 to 20"):
        compare([run(run_id) for run_id in ids])


def test_compare_models_without_ruler_warns_of_own_references() -> None:
    found = compare([run("r-1"), run("r-2", model="b")])
    assert found.kind == "models"
    assert [one.label for one in found.runs] == ["model-a", "model-b"]
    assert any("that it wrote itself" in line for line in found.warnings)


def test_compare_models_by_one_ruler_warns_of_none_and_shows_own_principles() -> None:
    found = compare([run("r-1", ruler=RULER), run("r-2", model="b", ruler=RULER)])
    assert (found.kind, found.ruler) == ("models", RULER)
    assert not any("that it wrote itself" in line for line in found.warnings)
    assert any("are the ruler's" in line for line in found.warnings)
    assert found.own is not None
    assert [cell.run_id for cell in found.own.cells] == ["r-1", "r-2"]


def test_compare_sets_on_one_model_warns_of_different_yardsticks() -> None:
    found = compare([run("r-1"), run("r-2", references="s")])
    assert found.kind == "sets"
    assert [one.label for one in found.runs] == ["set-r 1", "set-s 1"]
    assert any("different yardsticks" in line and "scaled" in line for line in found.warnings)
    assert not any("that it wrote itself" in line for line in found.warnings)


def test_compare_both_differ_warns_of_both() -> None:
    found = compare([run("r-1"), run("r-2", model="b", references="s")])
    assert found.kind == "models_and_sets"
    assert sum("yardsticks" in line or "wrote itself" in line for line in found.warnings) == 2


def test_compare_other_decoding_is_told() -> None:
    first, second = run("r-1"), run("r-2")
    study = {**second.study, "generation": {"temperature": 0.1}}
    found = compare([first, second.model_copy(update={"study": study})])
    assert found.kind == "repeats"
    assert any("generation.temperature" in line for line in found.warnings)
    # Both have one name; their labels tell them apart.
    assert [one.label.endswith(f"({one.run_id})") for one in found.runs] == [True, True]


def test_compare_uncontrolled_runs_are_told() -> None:
    first = run("r-1")
    assert first.analysis is not None
    analysis = first.analysis.model_copy(update={"uncontrolled": ("weights", "seeds")})
    found = compare([run("r-2"), first.model_copy(update={"analysis": analysis})])
    assert any("Run r-1" in line and "2 points" in line for line in found.warnings)
    assert found.runs[1].uncontrolled == ("weights", "seeds")


def test_compare_arms_and_matrix_are_the_reports_own() -> None:
    one, other = run("r-1"), run("r-2", model="b")
    found = compare([one, other])
    assert one.analysis is not None
    assert [row.arm for row in found.arms] == [arm.kind for arm in one.analysis.arms]
    for row, arm in zip(found.arms, one.analysis.arms, strict=True):
        assert [cell.run_id for cell in row.cells] == ["r-1", "r-2"]
        assert row.cells[0].mean == arm.mean
        assert row.cells[0].by_topic == arm.by_topic
    assert len(found.matrix) == 2 * len(one.analysis.matrix)


def _measured(run_id: str, evidence: Evidence) -> Report:
    report = report_of(run_id, evidence, completions_of(evidence), {"uri": "file:///x", "sha256": "a" * 64})
    return report.model_copy(update={"run_id": run_id})


def test_compare_shared_inputs_are_paired_with_interval() -> None:
    faithful, untouched = (
        make_evidence(2, 20, 2, model, second=False) for model in ("faithful", "untouched")
    )
    evidence = {"r-1": faithful, "r-2": untouched}
    found = compare([_measured(run_id, one) for run_id, one in evidence.items()], evidence)
    pairs = {pair.arm: pair for pair in found.paired}
    assert {"base_p3", "base_reference", "tuned"} == set(pairs)
    # Both runs have the same base model's texts: no difference at all.
    assert pairs["base_p3"].difference.value == 0.0
    tuned = pairs["tuned"].difference
    assert tuned.n == len(faithful.keys("test"))
    assert tuned.low is not None
    assert 0 < tuned.low < tuned.value
    assert pairs["tuned"].p_value is not None
    assert pairs["tuned"].p_value < 0.05
    assert set(pairs["tuned"].by_topic) == {"topic-0", "topic-1"}
    means = {
        run_id: next(arm.mean.value for arm in one.analysis.arms if arm.kind == "tuned")
        for run_id, one in ((run_id, _measured(run_id, one)) for run_id, one in evidence.items())
        if one.analysis
    }
    assert tuned.value == pytest.approx(means["r-2"] - means["r-1"])
    again = compare([_measured(run_id, one) for run_id, one in evidence.items()], evidence)
    assert again.paired == found.paired


def test_compare_runs_that_share_no_input_are_not_paired() -> None:
    evidence = {f"r-{seed}": make_evidence(2, 10, 2, seed=seed, second=False) for seed in (1, 2)}
    assert compare([_measured(run_id, one) for run_id, one in evidence.items()], evidence).paired == ()


def test_render_comparison_is_one_page_that_escapes_and_has_every_part() -> None:
    hostile = "<script>alert(1)</script>"
    evidence = {
        "r-1": make_evidence(2, 10, 2, second=False),
        "r-2": make_evidence(2, 10, 2, "copied", second=False),
    }
    found = compare([_measured(run_id, one) for run_id, one in evidence.items()], evidence)
    runs = tuple(one.model_copy(update={"model": hostile, "label": hostile}) for one in found.runs)
    page = render_comparison(found.model_copy(update={"runs": runs, "warnings": (hostile,)}))
    assert hostile not in page
    assert "&lt;script&gt;" in page
    assert page == render_comparison(found.model_copy(update={"runs": runs, "warnings": (hostile,)}))
    for part in ('id="runs"', 'id="arms"', 'id="topics"', 'id="paired"', 'id="matrix"', 'id="first"'):
        assert part in page
    assert "http://" not in page
    by_ruler = compare([run("r-1", ruler=RULER), run("r-2", model="b", ruler=RULER)])
    assert 'id="own"' in render_comparison(by_ruler)
