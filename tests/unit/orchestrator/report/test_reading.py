"""The sentences follow from the numbers."""

import pytest

from services.orchestrator.report import reading
from services.orchestrator.report.schema import Counts, Report
from tests.unit.orchestrator.report import examples

PROMPT, CONSTANT = "Is it the training, or only the prompt?", "Would one sentence, repeated, do as well?"


def _remark(report: Report, head: str) -> reading.Remark:
    (found,) = [remark for remark in reading.remarks(report) if remark.head == head]
    return found


def test_summary_names_all_four_numbers() -> None:
    said = reading.summary(examples.report())
    assert "18 test pairs of 6 topics" in said
    assert "fell from 0.740 to 0.440 (−40.5%)" in said
    assert "0.720" in said
    assert "0.320" in said


@pytest.mark.parametrize(
    ("after", "said"), [(0.8, "rose from 0.740 to 0.800 (+8.1%)"), (0.74, "did not change")]
)
def test_summary_without_a_fall_claims_none(after: float, said: str) -> None:
    assert said in reading.summary(examples.report(after=after))


def test_summary_measured_only_says_so() -> None:
    said = reading.summary(examples.measured_only())
    assert "only measured" in said
    assert "0.700" in said


@pytest.mark.parametrize(
    ("base_p3", "after", "tone", "said"),
    [
        (0.72, 0.44, "good", "the prompt alone gives 7%"),
        (0.50, 0.44, "warn", "the prompt alone gives 80%"),
        (0.76, 0.44, "good", "the whole fall of 0.300 is training's"),
        (0.40, 0.44, "warn", "worse than the prompt alone, by 0.040"),
        (0.44, 0.44, "warn", "Training added nothing"),
        (0.90, 0.80, "warn", "no more than the third prompt had lost"),
    ],
)
def test_prompt_remark_follows_the_numbers(base_p3: float, after: float, tone: str, said: str) -> None:
    remark = _remark(examples.report(base_p3=base_p3, after=after), PROMPT)
    assert remark.tone == tone
    assert said in remark.body


@pytest.mark.parametrize(
    ("constant", "tone", "said"),
    [(0.32, "warn", "Yes, better"), (0.44, "warn", "exactly as well"), (0.6, "good", "No: one sentence")],
)
def test_constant_remark_follows_the_numbers(constant: float, tone: str, said: str) -> None:
    remark = _remark(examples.report(constant=constant), CONSTANT)
    assert remark.tone == tone
    assert said in remark.body


def test_constant_remark_names_topics_that_lose_all_the_same() -> None:
    assert "Public Understanding" in _remark(examples.report(constant=0.46), CONSTANT).body


def test_topic_that_grew_is_named() -> None:
    report = examples.report(before=0.5, base_p3=0.5, after=0.42)
    assert "Public Understanding" in _remark(report, "Not every topic improved.").body


def test_sample_remark_twenty_pairs_uses_students_t() -> None:
    report = examples.report()
    topics = tuple(topic.model_copy(update={"n_test": 20}) for topic in report.topics)
    body = _remark(report.model_copy(update={"topics": topics}), "How sure is this?").body
    assert "about 0.47 standard deviations" in body


def test_lost_principles_are_counted() -> None:
    counts = {
        "original": Counts(requested=10, usable=10, redrawn=0),
        "aligned": Counts(requested=10, usable=7, redrawn=9),
    }
    body = _remark(
        examples.report().model_copy(update={"counts": counts}), "Not every answer could be used."
    ).body
    assert body.startswith("3 of the 20 principles")


def test_measured_only_compares_nothing() -> None:
    heads = [remark.head for remark in reading.remarks(examples.measured_only())]
    assert heads == ["Measured only."]
    assert "too few pairs" in reading.stopped(examples.measured_only())


def test_stopped_names_the_best_iteration() -> None:
    assert "Iteration 3 has the lowest validation mean (0.448)" in reading.stopped(examples.report())
    converged = examples.report().model_copy(update={"stop_reason": "converged"})
    assert "improved the validation mean too little" in reading.stopped(converged)
