"""The words around the verdict follow from the numbers."""

import pytest

from services.orchestrator.analysis.results import Analysis
from services.orchestrator.report import verdict
from tests.unit.orchestrator.report import analyses, examples


def _with_reduction(value: float, low: float | None, high: float | None) -> Analysis:
    made = analyses.analysis(("a",))
    assert made.primary is not None
    reduction = made.primary.reduction.model_copy(update={"value": value, "low": low, "high": high})
    return made.model_copy(update={"primary": made.primary.model_copy(update={"reduction": reduction})})


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.1, 0.3, "whole interval lies above zero"),
        (-0.1, 0.3, "Zero lies in the interval"),
        (-0.3, -0.1, "lies farther from the reference"),
        (None, None, "It has no interval"),
    ],
)
def test_primary_sentence_follows_the_interval(low: float | None, high: float | None, said: str) -> None:
    sentence = verdict.primary_sentence(_with_reduction(0.2, low, high))
    assert said in sentence
    assert "the same 120 test inputs: 0.442 against 0.720" in sentence


def test_primary_sentence_measured_only_is_empty() -> None:
    assert verdict.primary_sentence(analyses.measured(("a",))) == ""


def test_deciding_promotion_rests_on_every_reason() -> None:
    made = analyses.analysis(("a",), "promote").verdict
    assert made is not None
    assert verdict.deciding(made) == (made.reasons, ())


def test_headline_that_repeats_the_first_reason_counts_the_rules_instead() -> None:
    made = analyses.analysis(("a",), "reject").verdict
    assert made is not None
    repeating = made.model_copy(update={"headline": f"Reject: {made.reasons[0].text.rstrip('.')} (1 more)."})
    assert verdict.headline(repeating) == "2 of the gate's 4 rules ask to reject."
    assert (
        verdict.headline(made)
        == "The number fell, and one constant sentence would have brought it lower still."
    )


def test_face_is_told_by_word_icon_and_tone() -> None:
    faces = [verdict.face(examples.judged(decision)) for decision in ("promote", "hold", "reject")]
    assert [face.word for face in faces] == ["Promote", "Hold", "Reject"]
    assert len({face.icon for face in faces}) == len({face.tone for face in faces}) == 3
    assert verdict.face(examples.measured_with_analysis()).word == "Measured only"


def test_ordered_arms_cheap_ones_come_last() -> None:
    names = [arm.arm for arm in verdict.ordered_arms(analyses.analysis(("a",)))]
    assert names[0] == "original"
    assert names[-2:] == ["constant", "copied"]
