import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.orchestrator.domain.difference import (
    constant_differences,
    medoid,
    most_moved,
    overall_mean,
    rank_topics,
    reduction,
    topic_means,
    value_differences,
)

ROWS = arrays(
    np.float32, st.tuples(st.integers(1, 8), st.just(4)), elements=st.floats(-8, 8, width=16)
).filter(lambda rows: bool(np.all(np.any(rows != 0, axis=1))))


def test_value_differences_worked_by_hand():
    left = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    right = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [4.0, 3.0]])
    # same direction 0; right angle 1; opposite 2; cosine 24/25
    assert value_differences(left, right) == pytest.approx([0.0, 1.0, 2.0, 0.04])


@given(ROWS)
def test_value_differences_any_rows_are_symmetric_bounded_and_zero_to_themselves(rows):
    other = rows[::-1].copy()
    there, back = value_differences(rows, other), value_differences(other, rows)
    assert np.all((there >= 0) & (there <= 2))
    assert there == pytest.approx(back)
    assert value_differences(rows, 3 * rows) == pytest.approx(np.zeros(len(rows)), abs=1e-9)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_value_differences_row_without_direction_raises(bad):
    with pytest.raises(ValueError, match="embedding 0"):
        value_differences(np.array([bad]), np.array([[1.0, 0.0]]))


def test_value_differences_other_shapes_raise():
    with pytest.raises(ValueError, match="equal shape"):
        value_differences(np.ones((2, 3)), np.ones((3, 3)))


def test_value_differences_huge_and_tiny_rows_neither_overflow_nor_vanish():
    huge = np.array([[1e30, 1e30]], dtype=np.float32)
    tiny = np.array([[1e-30, 0.0]], dtype=np.float32)
    assert value_differences(huge, tiny) == pytest.approx([1 - 2**-0.5])


def test_topic_means_ranking_and_overall_worked_by_hand():
    means = topic_means([0.2, 0.4, 0.9, 0.3], ["a", "a", "b", "c"])
    assert means == pytest.approx({"a": 0.3, "b": 0.9, "c": 0.3})
    assert rank_topics({"a": 0.3, "b": 0.9, "c": 0.3}) == ("b", "a", "c")
    # the mean of topic means (0.5), not of the four pairs (0.45)
    assert overall_mean(means) == pytest.approx(0.5)


def test_overall_mean_without_topics_raises():
    with pytest.raises(ValueError):
        overall_mean({})


def test_reduction_worked_by_hand():
    assert reduction(0.5, 0.3) == pytest.approx(0.4)
    assert reduction(0.5, 0.6) == pytest.approx(-0.2)
    assert reduction(0.0, 0.1) is None


def test_medoid_worked_by_hand_is_the_middle_direction():
    angles = np.radians([0, 10, 25, 80])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    assert medoid(rows) == 2  # sums of cosines: 3.06, 3.29, 3.45, 2.09


@given(ROWS)
def test_medoid_any_rows_agrees_with_the_full_matrix(rows):
    unit = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    sums = (unit @ unit.T).sum(axis=1)
    assert sums[medoid(rows)] == pytest.approx(sums.max())


def test_medoid_without_rows_raises():
    with pytest.raises(ValueError):
        medoid(np.zeros((0, 3)))


def test_constant_differences_worked_by_hand():
    targets = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert constant_differences(np.array([2.0, 0.0]), targets) == pytest.approx([0.0, 1.0])


def test_constant_sentence_at_the_centre_beats_a_perfect_sampler():
    # Of unit rows whose mean has length R, a constant sentence scores about 1 - R, a perfect sampler 1 - R^2.
    rng = np.random.default_rng(0)
    targets = np.eye(1, 64) + 0.1 * rng.standard_normal((200, 64))
    sampler = value_differences(targets, np.roll(targets, 1, axis=0)).mean()
    assert constant_differences(targets[medoid(targets)], targets).mean() < sampler


def test_most_moved_largest_fall_first_equals_by_index():
    assert most_moved([0.5, 0.9, 0.5, 0.2], [0.4, 0.1, 0.4, 0.6], count=3) == (1, 0, 2)
    assert most_moved([0.5], [0.1]) == (0,)
