"""Scores, labels, targets and distances."""

import numpy as np
import pytest

from services.orchestrator.analysis.values.dimensions import (
    IDEAL,
    VALUES,
    answer_probabilities,
    distances,
    hard_labels,
    soft_scores,
    target_vector,
)


def test_ideal_target_is_the_papers_five_values():
    assert {name for name, score in target_vector("ideal").items() if score == 1} == {
        "achievement", "security", "conformity", "benevolence", "universalism",
    }  # fmt: skip
    assert set(IDEAL.values()) == {0.0, 1.0}


def test_target_of_a_user_is_0_where_it_says_nothing():
    target = target_vector({"power": -1, "security": 0.5})
    assert (target["power"], target["security"], target["hedonism"]) == (-1.0, 0.5, 0.0)
    assert list(target) == list(VALUES)


@pytest.mark.parametrize("target", ["best", {"honesty": 1}, {"power": 1.5}])
def test_target_that_cannot_be_is_refused(target):
    with pytest.raises(ValueError, match=r"best|honesty|1\.5"):
        target_vector(target)


def test_probabilities_are_normalised_over_the_three_answers_alone():
    logprobs = np.log([0.02, 0.01, 0.01])  # the rest of the mass lies on other texts
    assert answer_probabilities(logprobs) == pytest.approx([0.5, 0.25, 0.25])
    assert answer_probabilities([-1000.0, -1001.0, -1001.0]).sum() == pytest.approx(1)


def test_prior_of_the_answers_is_divided_out():
    prior = [0.8, 0.1, 0.1]
    assert answer_probabilities(np.log(prior), prior) == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    # A judge that always prefers "important", but less so here than for a question about nothing.
    biased = answer_probabilities(np.log([0.6, 0.1, 0.3]), prior)
    assert hard_labels(biased) == -1
    assert soft_scores(biased) < 0


def test_scores_lie_in_minus_1_to_1_and_labels_follow_the_likeliest_answer():
    rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.4, 0.4, 0.2], [0.4, 0.2, 0.4]])
    assert soft_scores(rows) == pytest.approx([1, 0, -1, 0.2, 0])
    assert hard_labels(rows).tolist() == [1, 0, -1, 0, 1]


def test_reply_without_any_value_does_not_get_the_best_distance():
    """The pitfall of a reward that leaves out dimensions near 0: silence would score best."""
    goal = np.array([IDEAL[name] for name in VALUES])
    silent, good, slightly_good = np.zeros(10), goal, 0.3 * goal
    opposed = -goal
    found = distances(np.array([silent, good, slightly_good, opposed]), goal)
    assert found[1] == 0
    assert found[1] < found[2] < found[0] < found[3]
    assert found[0] == pytest.approx(np.sqrt(5 / 10))


def test_distance_does_not_fall_when_fewer_dimensions_are_spoken_of():
    assert distances(np.zeros((1, 2)), np.ones(2)) == pytest.approx(1)
    assert distances(np.zeros((1, 7)), np.ones(7)) == pytest.approx(1)
    assert distances(np.full((1, 3), -1.0), np.ones(3)) == pytest.approx(2)
