"""Closed forms of cosine distances against the sums over pairs that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.analysis.statistics import pairs
from services.orchestrator.analysis.statistics.bootstrap import MEAN, Bootstrap, Column


def rows(count: int, seed: int = 0, dimension: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def unit(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def test_unit_sums_add_the_rows_of_each_input() -> None:
    values = rows(5)
    found = pairs.unit_sums(values, [2, 1, 2])
    normed = unit(values)
    assert found == pytest.approx(np.stack([normed[0] + normed[1], normed[2], normed[3] + normed[4]]))


def test_own_is_the_mean_distance_of_the_samples() -> None:
    texts, target = unit(rows(4)), unit(rows(1, seed=1))
    expected = np.mean([1 - text @ target[0] for text in texts])
    assert pairs.own(texts.mean(axis=0, keepdims=True), target) == pytest.approx([expected])


@settings(deadline=None)
@given(seed=st.integers(0, 2**16), first=st.integers(2, 6), second=st.integers(2, 6))
def test_others_mean_by_topic_is_that_of_all_pairs(seed: int, first: int, second: int) -> None:
    topics = ["a"] * first + ["b"] * second
    texts, targets = unit(rows(len(topics), seed)), unit(rows(len(topics), seed + 1))
    found = pairs.others(texts, targets, topics)
    for name in ("a", "b"):
        mine = [number for number, topic in enumerate(topics) if topic == name]
        every = [1 - texts[i] @ targets[j] for i in mine for j in mine if i != j]
        assert np.mean(found[mine]) == pytest.approx(np.mean(every))


def test_others_alone_in_its_topic_is_nan() -> None:
    found = pairs.others(unit(rows(3)), unit(rows(3, seed=1)), ["a", "b", "b"])
    assert np.isnan(found).tolist() == [True, False, False]


def test_others_of_a_constant_text_is_its_own_mean() -> None:
    targets = unit(rows(6, seed=1))
    constant = np.tile(unit(rows(1)), (6, 1))
    difference = pairs.others(constant, targets, ["a"] * 6).mean() - pairs.own(constant, targets).mean()
    assert difference == pytest.approx(0, abs=1e-12)


def test_others_of_a_constant_text_vary_as_its_own_distances() -> None:
    # Whichever inputs are drawn, a constant text has no specificity at all.
    targets = unit(rows(6, seed=1))
    constant = np.tile(unit(rows(1)), (6, 1))
    assert pairs.others(constant, targets, ["a"] * 6) == pytest.approx(pairs.own(constant, targets))


def test_others_are_the_jackknifes_pseudo_values() -> None:
    texts, targets = unit(rows(5)), unit(rows(5, seed=1))

    def statistic(members: list[int]) -> float:
        return float(np.mean([1 - texts[i] @ targets[j] for i in members for j in members if i != j]))

    everyone = list(range(5))
    expected = [
        5 * statistic(everyone) - 4 * statistic([each for each in everyone if each != left])
        for left in everyone
    ]
    assert pairs.others(texts, targets, ["a"] * 5) == pytest.approx(np.array(expected))


def test_others_of_topics_of_two_scatter_as_their_means_do() -> None:
    texts, targets = unit(rows(6)), unit(rows(6, seed=1))
    found = pairs.others(texts, targets, ["a", "a", "b", "b", "c", "c"]).reshape(3, 2)
    means = found.mean(axis=1)
    assert means[0] == pytest.approx(np.mean([1 - texts[0] @ targets[1], 1 - texts[1] @ targets[0]]))
    assert found[:, 0] - means == pytest.approx(np.full(3, np.std(means, ddof=1)))


def test_within_is_the_mean_of_an_inputs_pairs() -> None:
    normed = unit(rows(5))
    expected = [
        np.mean([1 - normed[i] @ normed[j] for i, j in ((0, 1), (0, 2), (1, 2))]),
        1 - normed[3] @ normed[4],
    ]
    assert pairs.within(pairs.unit_sums(rows(5), [3, 2]), [3, 2]) == pytest.approx(expected)


def test_others_interval_covers_a_known_floor() -> None:
    # Texts and targets share a direction of length r: the expected distance of unrelated ones is 1 - R**2,
    # taken from a large sample.
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        return unit(rng.normal(size=(count, 6)) + np.array([1.5, 0, 0, 0, 0, 0]))

    large = draw(200_000).mean(axis=0)
    truth = 1 - float(large @ large)
    held = 0
    for run in range(150):
        subject = rng.normal(size=(24, 6)) + np.array([1.5, 0, 0, 0, 0, 0])
        values = pairs.others(unit(subject), unit(subject), ["a"] * 24)
        found = Bootstrap(["a"] * 24, 400, 0.95, run).estimate(MEAN, [Column(values[None])])
        assert found is not None
        assert found.pooled.low is not None
        assert found.pooled.high is not None
        held += found.pooled.low <= truth <= found.pooled.high
    assert held / 150 >= 0.88
