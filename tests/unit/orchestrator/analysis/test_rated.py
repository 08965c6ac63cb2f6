"""Planted truths that a review's numbers must find again, and the gate's rules on them, both ways."""

from typing import Any

import numpy as np
import pytest

from services.orchestrator.analysis.gate_review import review_reasons
from services.orchestrator.analysis.human_review import FrozenItem, HumanReview, Rating, ReviewFile
from services.orchestrator.analysis.rated import review_results
from services.orchestrator.study_sections import HumanReviewSettings

MEASUREMENT = {"confidence": 0.95, "resamples": 500}
TOPICS = ("a", "b")


def simulated(
    seed: int = 0,
    *,
    noise: float = 0.5,
    slope: float = -8.0,
    lift: float = 0.0,
    inputs: int = 40,
    reviewers: int = 3,
) -> HumanReview:
    """Ratings = 9 + slope * metric + lift for tuned + each reviewer's noise (standard deviation, points)."""
    random = np.random.default_rng(seed)
    items, ratings = [], []
    for topic in TOPICS:
        for index in range(inputs):
            for arm in ("base_p3", "tuned"):
                metric = float(random.uniform(0.1, 0.8))
                number = len(items) + 1
                items.append(
                    FrozenItem(
                        number=number,
                        arm=arm,
                        topic_id=topic,
                        index=index,
                        text="t",
                        reference="r",
                        metric=metric,
                    )
                )
                true = 9 + slope * metric + (lift if arm == "tuned" else 0)
                for reviewer in range(reviewers):
                    said = int(np.clip(round(true + random.normal(0, noise)), 1, 10))
                    ratings.append(Rating(number=number, reviewer=f"r{reviewer}", rating=said))
    file = ReviewFile(
        review_id="rv-1", run_id="r-1", title="", rubric="", threshold=0.2, arms=("base_p3", "tuned"),
        items_per_topic=inputs, seed=seed, reviewers_per_item=reviewers, author="", flagged=0,
        items_sha256="", items=tuple(items), ratings=tuple(ratings),
    )  # fmt: skip
    return review_results(file, (), TOPICS, MEASUREMENT)


def outcomes(review: HumanReview | None, **changes: Any) -> dict[str, str]:
    settings = HumanReviewSettings(required=True, **changes).model_dump(mode="json")
    return {reason.rule: reason.outcome for reason in review_reasons(settings, review)}


def test_review_results_planted_agreement_and_correlation_are_recovered():
    close, wide = simulated(noise=0.3), simulated(noise=4)
    assert close.agreement.ordinal.value > 0.9
    assert wide.agreement.ordinal.value < 0.4
    assert close.correlation.spearman.value < -0.95
    assert simulated(slope=0, noise=3).correlation.spearman.high > 0
    assert set(close.agreement_by_topic) == set(close.correlation_by_topic) == set(TOPICS)


def test_review_results_planted_difference_lies_in_its_interval_about_as_often_as_it_says():
    held = 0
    for seed in range(40):
        found = simulated(seed, lift=1.0, slope=-2.0, inputs=15).differences[0].difference
        held += found.low <= 1.0 <= found.high
    assert held >= 34


def test_review_reasons_not_required_says_nothing():
    settings = HumanReviewSettings().model_dump(mode="json")
    assert list(review_reasons(settings, simulated())) == []
    assert list(review_reasons(None, None)) == []


def test_review_reasons_required_and_missing_holds_and_says_the_command():
    settings = HumanReviewSettings(required=True).model_dump(mode="json")
    (reason,) = review_reasons(settings, None)
    assert reason.outcome == "hold"
    assert "needs human review: `valign reviews create RUN`" in reason.text


@pytest.mark.parametrize(
    ("rule", "passes", "fails", "changes", "outcome"),
    [
        ("items", {"lift": 1.5}, {"lift": 1.5, "reviewers": 1}, {}, "hold"),
        ("agreement", {"lift": 1.5}, {"lift": 1.5, "noise": 5}, {}, "hold"),
        ("difference", {"lift": 1.5}, {"lift": -1.5}, {}, "reject"),
        ("difference", {"lift": 0.0, "slope": -1}, {"lift": -3}, {"min_difference": -1.0}, "reject"),
        ("correlation", {}, {"slope": 4}, {"min_correlation": 0.3}, "hold"),
    ],
)
def test_review_reasons_each_rule_both_ways(rule, passes, fails, changes, outcome):
    name = f"human_review_{rule}"
    assert outcomes(simulated(**passes), **changes)[name] == "promote"
    assert outcomes(simulated(**fails), **changes)[name] == outcome
