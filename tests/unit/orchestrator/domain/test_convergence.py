import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.convergence import best_iteration, relative_improvement, stop_reason


def test_relative_improvement_worked_by_hand():
    assert relative_improvement(0.50, 0.40) == pytest.approx(0.2)
    assert relative_improvement(0.40, 0.50) == pytest.approx(-0.25)
    assert relative_improvement(0.0, 0.1) == 0.0


@pytest.mark.parametrize(
    ("means", "reason"),
    [
        ([0.60], None),  # nothing trained yet
        ([0.60, 0.45], None),  # -25 %
        ([0.60, 0.45, 0.40], None),  # -11.1 %
        ([0.60, 0.45, 0.40, 0.398], "converged"),  # -0.5 % < 1 %
        ([0.60, 0.45, 0.40, 0.41], "converged"),  # worse
        ([0.60, 0.61], "converged"),
        ([0.60, 0.55, 0.50, 0.45, 0.40, 0.35], "max_iterations"),
        ([0.60, 0.55, 0.50, 0.45, 0.40, 0.3999], "max_iterations"),
    ],
)
def test_stop_reason_paper_defaults_worked_by_hand(means, reason):
    assert stop_reason(means) == reason


def test_stop_reason_exactly_at_the_limit_goes_on():
    assert stop_reason([1.0, 0.75], min_relative_improvement=0.25) is None


def test_stop_reason_negative_limit_never_converges():
    assert stop_reason([0.1, 2.0], max_iterations=2, min_relative_improvement=-1000) is None


def test_best_iteration_lowest_mean_earliest_of_equals_never_the_untuned():
    assert best_iteration([0.60, 0.45, 0.40, 0.41]) == 2
    assert best_iteration([0.60, 0.40, 0.40]) == 1
    assert best_iteration([0.10, 0.40, 0.30]) == 2


def test_best_iteration_nothing_trained_raises():
    with pytest.raises(ValueError):
        best_iteration([0.6])


@given(st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=10), st.integers(1, 10))
def test_stop_reason_any_history_ends_at_the_limit(means, limit):
    if len(means) - 1 >= limit:
        assert stop_reason(means, limit) == "max_iterations"
    else:
        assert stop_reason(means, limit) != "max_iterations"
