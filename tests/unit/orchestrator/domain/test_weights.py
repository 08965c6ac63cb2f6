import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.weights import topic_weights

MEANS = st.dictionaries(st.text(min_size=1), st.floats(0, 2, allow_nan=False), min_size=1, max_size=12)


def test_max_worked_by_hand_divides_by_the_largest():
    # 0.8 is the largest: 0.2/0.8, 0.4/0.8, 0.8/0.8
    assert topic_weights({"a": 0.2, "b": 0.4, "c": 0.8}) == pytest.approx({"a": 0.25, "b": 0.5, "c": 1.0})


def test_min_max_worked_by_hand_runs_from_floor_to_one():
    # (0.4 - 0.2) / (0.8 - 0.2) = 1/3; 0.1 + 0.9 / 3 = 0.4
    weights = topic_weights({"a": 0.2, "b": 0.4, "c": 0.8}, "min-max", floor=0.1)
    assert weights == pytest.approx({"a": 0.1, "b": 0.4, "c": 1.0})


@pytest.mark.parametrize("normalization", ["max", "min-max"])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_weights_equal_means_weigh_one_each(normalization, value):
    assert topic_weights({"a": value, "b": value}, normalization) == {"a": 1.0, "b": 1.0}


def test_max_topic_without_difference_weighs_zero():
    assert topic_weights({"a": 0.0, "b": 0.5}) == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize("means", [{}, {"a": -0.1}])
def test_weights_impossible_means_raise(means):
    with pytest.raises(ValueError):
        topic_weights(means)


@given(MEANS, st.sampled_from(["max", "min-max"]), st.floats(0.01, 1))
def test_weights_any_means_lie_in_unit_interval_and_keep_the_order(means, normalization, floor):
    weights = topic_weights(means, normalization, floor)
    assert list(weights) == list(means)
    assert max(weights.values()) == pytest.approx(1)
    assert all(0 <= weight <= 1 + 1e-12 for weight in weights.values())
    if normalization == "min-max":
        assert min(weights.values()) >= floor - 1e-12
    ranked = sorted(means, key=lambda topic: means[topic])
    assert [weights[t] for t in ranked] == sorted(weights.values())
