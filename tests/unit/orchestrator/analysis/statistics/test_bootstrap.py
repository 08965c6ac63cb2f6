"""Intervals: worked examples, coverage where the truth is known, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from services.orchestrator.analysis.statistics.bootstrap import (
    DIFFERENCE,
    MEAN,
    REDUCTION,
    SCALED,
    Bootstrap,
    Column,
    Statistic,
)


def column(*rows: list[float], trained: str = "") -> Column:
    return Column(np.array(rows, dtype=np.float64), trained)


def test_estimate_pooled_is_the_mean_of_topic_means() -> None:
    # Topic a: 0.1, 0.3 (mean 0.2); topic b: 0.8. The mean of inputs would be 0.4.
    found = Bootstrap(["a", "a", "b"], 100, 0.95, 0).estimate(MEAN, [column([0.1, 0.3, 0.8])])
    assert found is not None
    assert found.pooled.value == pytest.approx(0.5)
    assert {topic: each.value for topic, each in found.by_topic.items()} == pytest.approx(
        {"a": 0.2, "b": 0.8}
    )
    assert found.pooled.n == 3


def test_estimate_averages_training_seeds() -> None:
    found = Bootstrap(["a", "a"], 100, 0.95, 0).estimate(MEAN, [column([0.1, 0.3], [0.3, 0.5], trained="x")])
    assert found is not None
    assert found.pooled.value == pytest.approx(0.3)


def test_reduction_is_the_ratio_of_pooled_means_not_the_mean_of_ratios() -> None:
    arm, against = column([0.2, 0.6]), column([0.4, 0.8])
    found = Bootstrap(["a", "a"], 100, 0.95, 0).estimate(REDUCTION, [arm, against])
    assert found is not None
    assert found.pooled.value == pytest.approx(1 - 0.8 / 1.2)


def test_scaled_is_0_at_the_floor_and_1_at_the_ceiling() -> None:
    floor, ceiling = column([0.9, 0.8]), column([0.2, 0.3])
    bootstrap = Bootstrap(["a", "a"], 100, 0.95, 0)
    for values, expected in ((floor, 0.0), (ceiling, 1.0)):
        found = bootstrap.estimate(SCALED, [values, floor, ceiling])
        assert found is not None
        assert found.pooled.value == pytest.approx(expected)
        assert found.pooled.low == pytest.approx(expected)


@pytest.mark.parametrize(
    ("statistic", "point"),
    [(MEAN, (0.4,)), (DIFFERENCE, (0.3, 0.7)), (REDUCTION, (0.3, 0.7)), (SCALED, (0.5, 0.9, 0.3))],
)
def test_gradient_is_the_slope(statistic: Statistic, point: tuple[float, ...]) -> None:
    step = 1e-6
    for place, slope in enumerate(statistic.gradient(*point)):
        moved = [value + step * (number == place) for number, value in enumerate(point)]
        assert (statistic.of(*moved) - statistic.of(*point)) / step == pytest.approx(slope, rel=1e-4)


def test_interval_of_a_mean_agrees_with_students() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.1, size=8)
    found = Bootstrap(["a"] * 8, 20_000, 0.95, 1).estimate(MEAN, [Column(values[None])])
    low, high = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    assert found is not None
    assert found.pooled.low == pytest.approx(low, abs=0.02)
    assert found.pooled.high == pytest.approx(high, abs=0.02)


def test_one_input_has_no_interval_even_with_several_seeds() -> None:
    found = Bootstrap(["a"], 100, 0.95, 0).estimate(MEAN, [column([0.2], [0.4], trained="x")])
    assert found is not None
    assert found.pooled.low is None


def test_topics_of_one_input_are_judged_together() -> None:
    values = column([0.2, 0.4, 0.6])
    found = Bootstrap(["a", "b", "c"], 4000, 0.95, 0).estimate(MEAN, [values])
    together = Bootstrap(["a", "a", "a"], 4000, 0.95, 0).estimate(MEAN, [values])
    assert found is not None
    assert together is not None
    assert found.pooled.low == pytest.approx(together.pooled.low, abs=0.05)
    assert all(each.low is None for each in found.by_topic.values())


def test_constant_values_have_an_interval_of_no_width() -> None:
    found = Bootstrap(["a"] * 4, 100, 0.95, 0).estimate(MEAN, [column([0.5] * 4)])
    assert found is not None
    assert (found.pooled.low, found.pooled.high) == pytest.approx((0.5, 0.5))


def test_reduction_of_nothing_is_none() -> None:
    assert (
        Bootstrap(["a", "a"], 100, 0.95, 0).estimate(REDUCTION, [column([0.1, 0.2]), column([0, 0])]) is None
    )


def test_reduction_in_a_topic_of_nothing_leaves_that_topic_out() -> None:
    bootstrap = Bootstrap(["a", "a", "b", "b"], 100, 0.95, 0)
    found = bootstrap.estimate(REDUCTION, [column([0.1, 0.2, 0.1, 0.1]), column([0.4, 0.4, 0, 0])])
    assert found is not None
    assert list(found.by_topic) == ["a"]


def test_seeds_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.5, 0.05, size=40)
    bootstrap = Bootstrap(["a"] * 40, 2000, 0.95, 0)

    def width(shift: float) -> float:
        values = np.stack([inputs - shift, inputs, inputs + shift])
        found = bootstrap.estimate(MEAN, [Column(values, "tuned")])
        assert found is not None
        assert found.pooled.low is not None
        assert found.pooled.high is not None
        return found.pooled.high - found.pooled.low

    assert width(0.1) > 3 * width(0.0)


def test_columns_of_one_training_share_their_seeds() -> None:
    # Both columns move together with the seed: their difference does not move at all.
    rng = np.random.default_rng(0)
    first = rng.normal(0.5, 0.05, size=(1, 20)) + np.array([[0.0], [0.2]])
    found = Bootstrap(["a"] * 20, 500, 0.95, 0).estimate(
        DIFFERENCE, [Column(first, "tuned"), Column(first + 0.1, "tuned")]
    )
    assert found is not None
    assert (found.pooled.low, found.pooled.high) == pytest.approx((0.1, 0.1))


def coverage(topics: int, inputs: int, seeds: int, seed_spread: float, runs: int = 200) -> float:
    """Share of intervals of the reduction that hold the truth: 1 - 0.5 / 0.7."""
    rng = np.random.default_rng(11)
    names = [f"t{number}" for number in range(topics) for _ in range(inputs)]
    held = 0
    for run in range(runs):
        against = rng.normal(0.7, 0.07, size=len(names))
        arm = (
            0.5
            + 0.3 * (against - 0.7)
            + rng.normal(0, 0.1, size=len(names))
            + rng.normal(0, seed_spread, size=(seeds, 1))
            + rng.normal(0, 0.05, size=(seeds, len(names)))
        )
        found = Bootstrap(names, 400, 0.95, run).estimate(
            REDUCTION, [Column(arm, "tuned"), Column(against[None])]
        )
        assert found is not None
        assert found.pooled.low is not None
        assert found.pooled.high is not None
        held += found.pooled.low <= 1 - 0.5 / 0.7 <= found.pooled.high
    return held / runs


@pytest.mark.parametrize(
    ("topics", "inputs", "seeds", "seed_spread"),
    [(6, 20, 3, 0.01), (6, 20, 1, 0.0), (6, 3, 2, 0.01), (6, 2, 1, 0.0), (2, 20, 5, 0.05)],
    ids=["paper's size", "one seed", "small topics", "two inputs a topic", "seeds dominate"],
)
def test_coverage_where_the_truth_is_known_is_nominal(
    topics: int, inputs: int, seeds: int, seed_spread: float
) -> None:
    # 200 runs: three standard errors of 0.95 are 0.046. Above is allowed: crossed resampling errs that way.
    assert coverage(topics, inputs, seeds, seed_spread) >= 0.90


def test_coverage_without_the_topics_spread_would_be_too_high() -> None:
    # Topics that lie far apart must not widen the interval: it is stratified.
    names = [topic for topic in "ab" for _ in range(10)]
    values = np.concatenate([np.full(10, 0.1), np.full(10, 0.9)])
    found = Bootstrap(names, 500, 0.95, 0).estimate(MEAN, [Column(values[None])])
    assert found is not None
    assert found.pooled.low == pytest.approx(0.5)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(0, 2), min_size=2, max_size=12),
    seed=st.integers(0, 2**32),
    level=st.sampled_from([0.8, 0.95]),
)
def test_interval_holds_its_estimate_and_its_bounds(values: list[float], seed: int, level: float) -> None:
    topics = ["a" if number % 2 else "b" for number in range(len(values))]
    found = Bootstrap(topics, 100, level, seed).estimate(MEAN, [column(values)])
    assert found is not None
    for estimate in (found.pooled, *found.by_topic.values()):
        if estimate.low is not None and estimate.high is not None:
            assert 0 <= estimate.low <= estimate.value + 1e-12
            assert estimate.value - 1e-12 <= estimate.high <= 2


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equal_seeds_give_equal_intervals(seed: int) -> None:
    values = [column([0.1, 0.4, 0.2, 0.9])]
    topics = ["a", "a", "b", "b"]
    first, second = (Bootstrap(topics, 100, 0.95, seed).estimate(MEAN, values) for _ in range(2))
    assert first == second
