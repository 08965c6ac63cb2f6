"""Energy distance: equal to dcor's, and a test that holds its size with several texts an input."""

import numpy as np
import pytest

from services.orchestrator.analysis.statistics.energy import chords, energy_test


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def draws(rng: np.random.Generator, inputs: int, each: int, shift: float = 0.0) -> np.ndarray:
    """Texts of inputs with centres of their own: rows of one input are no independent draws."""
    centres = np.random.default_rng(0).normal(size=(inputs, 8)) * 2
    noise = rng.normal(size=(inputs, each, 8))
    return unit((centres[:, None] + noise + shift * np.eye(8)[0]).reshape(-1, 8))


def places(inputs: int, each: int) -> np.ndarray:
    return np.repeat(np.arange(inputs), each)


def test_energy_worked_example() -> None:
    # One text on each side at right angles: 2 * sqrt(2) - 0 - 0.
    found = energy_test(
        np.array([[1.0, 0.0]]),
        np.array([[0.0, 1.0]]),
        np.array([0]),
        np.array([0]),
        100,
        np.random.default_rng(0),
    )
    assert found.statistic == pytest.approx(2 * np.sqrt(2), rel=1e-5)
    assert (found.n_left, found.n_right, found.p_value) == (1, 1, 1.0)


@pytest.mark.parametrize(("left", "right"), [(30, 20), (5, 60)])
def test_energy_statistic_is_dcors(left: int, right: int) -> None:
    # Here and not above: its first import compiles it, and two processes that do so at once, as those do that
    # look for tests, leave behind what no later import survives (numba/numba#10128).
    import dcor

    rng = np.random.default_rng(1)
    first, second = unit(rng.normal(size=(left, 16)) + 1), unit(rng.normal(size=(right, 16)))
    found = energy_test(first, second, np.arange(left), np.arange(right), 100, rng)
    assert found.statistic == pytest.approx(float(dcor.energy_distance(first, second)), rel=1e-4)


def test_energy_of_equal_texts_is_0() -> None:
    rows = draws(np.random.default_rng(0), 10, 1)
    found = energy_test(rows, rows, places(10, 1), places(10, 1), 200, np.random.default_rng(0))
    assert found.statistic == pytest.approx(0, abs=1e-6)
    assert found.p_value == 1.0


def test_energy_sees_a_spread_that_the_mean_does_not() -> None:
    # Same mean direction; one side lies close about it, the other does not. A cosine of means is blind to it.
    rng = np.random.default_rng(4)
    centre = np.eye(8)[0] * 3
    first, second = unit(centre + 0.1 * rng.normal(size=(60, 8))), unit(centre + rng.normal(size=(60, 8)))
    found = energy_test(first, second, places(60, 1), places(60, 1), 300, rng)
    assert found.p_value <= 0.01


def rejections(shift: float, each: int = 4, runs: int = 200) -> float:
    rng = np.random.default_rng(7)
    found = [
        energy_test(
            draws(rng, 12, each, shift), draws(rng, 12, 2), places(12, each), places(12, 2), 100, rng
        ).p_value
        for _ in range(runs)
    ]
    return float(np.mean(np.array(found) <= 0.05))


def test_energy_test_size_with_clustered_texts_is_nominal() -> None:
    # 200 runs: three standard errors of 0.05 are 0.046.
    assert rejections(0.0) <= 0.096


def test_energy_test_power_finds_a_shift() -> None:
    assert rejections(1.5, runs=50) >= 0.9


def test_energy_order_of_texts_does_not_move_the_statistic() -> None:
    rng = np.random.default_rng(3)
    first, second = draws(rng, 6, 3), draws(rng, 6, 1)
    order = rng.permutation(18)
    one = energy_test(first, second, places(6, 3), places(6, 1), 50, np.random.default_rng(0))
    two = energy_test(first[order], second, places(6, 3)[order], places(6, 1), 50, np.random.default_rng(0))
    assert one.statistic == pytest.approx(two.statistic, rel=1e-5)


def test_chords_are_euclidean_distances() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(5, 3)))
    expected = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert chords(rows) == pytest.approx(expected, abs=1e-7)
