"""Sign-flip test, Holm and effect size: worked examples, size and power."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from services.orchestrator.analysis.statistics.signflip import effect_size, holm, sign_flip


def even(count: int) -> np.ndarray:
    return np.full(count, 1.0 / count)


def test_sign_flip_all_positive_is_exact() -> None:
    # Of the 2**5 patterns only all-plus and all-minus are as extreme.
    found = sign_flip(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), even(5), 1000, 0)
    assert found == pytest.approx(2 / 32)


def test_sign_flip_worked_example_counts_the_patterns() -> None:
    values = np.array([0.5, -0.2, 0.3, 0.4])
    observed = abs(values.mean())
    patterns = [np.mean(values * signs) for signs in itertools.product((1, -1), repeat=4)]
    expected = np.mean([abs(mean) >= observed - 1e-12 for mean in patterns])
    assert sign_flip(values, even(4), 1000, 0) == pytest.approx(expected)


def test_sign_flip_weights_count_a_small_topic_as_much_as_a_large_one() -> None:
    # Topic of one input, -1; topic of three, each +0.5: the pooled mean is -0.25, the plain one +0.125.
    values, weights = np.array([-1.0, 0.5, 0.5, 0.5]), np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    patterns = [np.sum(values * weights * signs) for signs in itertools.product((1, -1), repeat=4)]
    expected = np.mean([abs(total) >= 0.25 - 1e-12 for total in patterns])
    assert sign_flip(values, weights, 1000, 0) == pytest.approx(expected)


def test_sign_flip_without_differences_is_1() -> None:
    assert sign_flip(np.array([1e-17, -1e-17, 0.0]), even(3), 1000, 0) == 1.0


def test_sign_flip_one_input_is_none() -> None:
    assert sign_flip(np.array([0.4]), even(1), 1000, 0) is None


def test_sign_flip_random_patterns_agree_with_all_of_them() -> None:
    values = np.random.default_rng(5).normal(0.15, 0.5, size=14)
    exact = sign_flip(values, even(14), 2**14, 0)
    assert sign_flip(values, even(14), 5000, 0) == pytest.approx(exact, abs=0.03)


def test_sign_flip_equal_seeds_give_equal_values() -> None:
    values = np.random.default_rng(5).normal(0.1, 0.5, size=40)
    assert sign_flip(values, even(40), 500, 3, "x") == sign_flip(values, even(40), 500, 3, "x")
    assert sign_flip(values, even(40), 500, 3, "x") != sign_flip(values, even(40), 500, 4, "x")


def rejections(shift: float, runs: int = 300) -> float:
    rng = np.random.default_rng(2)
    found = [sign_flip(rng.normal(shift, 1, size=20), even(20), 300, run) for run in range(runs)]
    return float(np.mean([value is not None and value <= 0.05 for value in found]))


def test_sign_flip_size_where_nothing_differs_is_nominal() -> None:
    # 300 runs: three standard errors of 0.05 are 0.038.
    assert 0.02 <= rejections(0.0) <= 0.09


def test_sign_flip_power_agrees_with_the_t_test() -> None:
    # dz 0.7 with 20 pairs: the t-test finds it in 84 % of the samples.
    assert rejections(0.7) == pytest.approx(0.84, abs=0.07)


def test_holm_worked_example() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_holm_of_nothing_is_empty() -> None:
    assert holm({"a": None}) == {}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.03, 0.2, 0.5, 1.0]), min_size=1, max_size=8))
def test_holm_is_that_of_statsmodels(values: list[float]) -> None:
    found = holm({str(number): value for number, value in enumerate(values)})
    expected = multipletests(values, method="holm")[1]
    assert [found[str(number)] for number in range(len(values))] == pytest.approx(list(expected))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_value(values: list[float]) -> None:
    raw = {str(number): value for number, value in enumerate(values)}
    adjusted = holm(raw)
    assert all(raw[name] - 1e-12 <= adjusted[name] <= 1 for name in raw)
    assert adjusted[min(raw, key=raw.__getitem__)] == pytest.approx(min(1, len(raw) * min(raw.values())))


def test_effect_size_worked_example() -> None:
    assert effect_size(np.array([0.1, 0.2, 0.3]), 0.2) == pytest.approx(2.0)


def test_effect_size_without_a_spread_is_none() -> None:
    assert effect_size(np.array([0.2, 0.2]), 0.2) is None
    assert effect_size(np.array([0.2]), 0.2) is None
