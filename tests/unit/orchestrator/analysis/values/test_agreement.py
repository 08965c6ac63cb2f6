"""Agreement with held-out labels against scikit-learn, a worked example and simulations."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from services.orchestrator.analysis.values.agreement import Thresholds, agreement, kappas, label_counts

NONE = Thresholds(train=0, held_out=0)


def measured(labels, answers, groups=None, **changes):
    labels, answers = np.array(labels), np.array(answers)
    groups = groups if groups is not None else [str(place) for place in range(len(labels))]
    options = {"train": None, "thresholds": NONE, "seed": 1, "resamples": 500, **changes}
    return agreement("security", labels, answers, groups, **options)


def test_kappa_of_a_worked_example():
    """Cohen 1960 in small: 50 rows, agreement 0.7, by chance 0.5, so kappa 0.4."""
    labels = [1] * 25 + [0] * 25
    answers = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = measured(labels, answers)
    assert found.accuracy.value == pytest.approx(0.7)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.balanced_accuracy.value == pytest.approx((0.8 + 0.6) / 2)
    assert found.confusion == ((20, 5, 0), (10, 15, 0), (0, 0, 0))
    assert found.majority == pytest.approx(0.5)


def test_resampled_kappas_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels, answers = random.integers(-1, 2, 200), random.integers(-1, 2, 200)
    table = np.zeros((1, 3, 3))
    for label, answer in zip(labels, answers, strict=True):
        table[0, [1, 0, -1].index(label), [1, 0, -1].index(answer)] += 1
    assert kappas(table)[0] == pytest.approx(cohen_kappa_score(labels, answers))


def test_interval_is_wider_when_replies_share_prompts():
    random = np.random.default_rng(2)
    right = np.repeat(random.random(60) < 0.7, 5)
    labels = random.integers(-1, 2, 300)
    answers = np.where(right, labels, (labels + 2) % 3 - 1)
    by_row = measured(labels, answers).accuracy
    by_prompt = measured(labels, answers, [str(place // 5) for place in range(300)]).accuracy
    assert by_prompt.value == by_row.value
    assert by_prompt.high - by_prompt.low > 1.5 * (by_row.high - by_row.low)


def test_interval_covers_the_true_kappa_about_as_often_as_it_says():
    hits = 0
    for trial in range(60):
        random = np.random.default_rng(trial)
        labels = random.choice([1, 0, -1], 200)
        answers = np.where(random.random(200) < 0.55, labels, random.choice([1, 0, -1], 200))
        found = measured(labels, answers, resamples=300).kappa  # true kappa 0.55: the share not guessed
        hits += found.low <= 0.55 <= found.high
    assert 52 <= hits <= 60


def test_guesses_are_called_above_chance_no_oftener_than_the_level_allows():
    called = 0
    for trial in range(80):
        random = np.random.default_rng(trial)
        labels, guesses = random.choice([1, 0, -1], 300), random.choice([1, 0, -1], 300)
        called += bool(measured(labels, guesses, resamples=300).above_chance)
    assert called <= 6  # 2.5 % of 80 is 2; more than 6 has a chance of 1 in 200
    assert measured(labels, labels).above_chance is True


def test_answer_that_never_changes_has_kappa_0_and_is_not_above_chance():
    found = measured([1, 0, -1] * 40, [0] * 120)
    assert found.kappa.value == 0
    assert found.above_chance is False


@pytest.mark.parametrize(
    ("train", "labels", "told"),
    [
        ({"important": 29, "none": 99, "opposed": 99}, [1, 0, -1] * 20, "29 training labels 'important'"),
        ({"important": 99, "none": 99, "opposed": 99}, [1, 0] * 20 + [-1] * 9, "9 held-out labels 'opposed'"),
        (None, [1, 0] * 20, "0 held-out labels 'opposed'"),
    ],
)
def test_value_with_too_few_labels_gets_no_numbers_at_all(train, labels, told):
    found = measured(labels, labels, train=train, thresholds=Thresholds())
    assert found.status == "too_few_labels"
    assert told in found.reason
    assert (found.kappa, found.accuracy, found.above_chance, found.majority) == (None, None, None, None)


def test_equal_seeds_give_equal_intervals():
    labels, answers = [1, 0, -1] * 30, [1, 0, 0] * 30
    assert measured(labels, answers) == measured(labels, answers)
    assert measured(labels, answers) != measured(labels, answers, seed=2)


def test_label_counts_name_all_three_kinds():
    assert label_counts([1, 1, 0]) == {"important": 2, "none": 1, "opposed": 0}
