"""Events as metrics."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.records import EventRecord
from services.orchestrator.tracking.event_map import Metric, metrics_of

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def points(kind: str, **data: Any) -> dict[str, tuple[int, float]]:
    made = metrics_of([EventRecord(3, NOW, kind, data)])
    assert {one.time_ms for one in made} <= {int(NOW.timestamp() * 1000)}
    return {one.key: (one.step, one.value) for one in made}


def test_topic_means_of_an_iteration_are_the_series_by_iteration() -> None:
    told = {"arm": "realigned-i2", "split": "validation", "iteration": 2, "mean": 0.3}
    assert points("topic.means", means={"a": 0.2, "b": 0.4}, **told) == {
        "value_difference/a": (2, 0.2),
        "value_difference/b": (2, 0.4),
        "value_difference_mean": (2, 0.3),
    }


def test_topic_means_before_training_are_iteration_0() -> None:
    found = points("topic.means", arm="original", split="validation", iteration=0, means={"a": 0.5})
    assert found == {"value_difference/a": (0, 0.5), "value_difference_mean": (0, 0.5)}


@pytest.mark.parametrize(
    "told",
    [
        {"arm": "base_p3", "split": "validation"},
        {"arm": "uniform-s1", "split": "validation", "iteration": 1},
        {"arm": "constant", "split": "test"},
    ],
)
def test_topic_means_of_other_arms_are_no_part_of_that_series(told: dict[str, Any]) -> None:
    where = f"means/{told['split']}/{told['arm']}"
    assert points("topic.means", means={"a": 0.5}, **told) == {
        f"{where}/a": (0, 0.5),
        f"{where}_mean": (0, 0.5),
    }


def test_training_progress_is_by_iteration_and_arm_at_the_optimisers_step() -> None:
    told = {"iteration": 2, "step": 7, "loss": 1.5, "learning_rate": 1e-5, "tokens_per_s": None}
    assert points("training.progress", **told) == {
        "training/i2/loss": (7, 1.5),
        "training/i2/learning_rate": (7, 1e-5),
    }
    assert points("training.progress", arm="shuffled", **told).keys() == {
        "training/shuffled/i2/loss",
        "training/shuffled/i2/learning_rate",
    }


def test_weights_stand_at_the_iteration_that_trains_with_them() -> None:
    assert points("topics.ranked", ranks={"a": 1}, weights={"a": 1.0}) == {
        "rank/a": (0, 1.0),
        "weight/a": (1, 1.0),
    }
    found = points("iteration.ended", iteration=1, weights={"a": 0.5}, relative_improvement=0.1)
    assert found == {"weight/a": (2, 0.5), "relative_improvement": (1, 0.1)}


def test_swap_proof_is_kept() -> None:
    found = points("adapter.loaded", max_relative_error=0.01, mean_shift_nats=0.3, duration_s=2.0, canaries=3)
    assert found == {
        "swap/max_relative_error": (3, 0.01),
        "swap/mean_shift_nats": (3, 0.3),
        "swap/duration_s": (3, 2.0),
    }


def test_event_that_is_told_twice_gives_the_same_metrics() -> None:
    event = EventRecord(1, NOW, "training.progress", {"iteration": 1, "step": 1, "loss": 0.5})
    assert metrics_of([event]) == metrics_of([event])


@given(
    st.sampled_from(
        ["topic.means", "topics.ranked", "training.progress", "iteration.ended", "adapter.loaded", "x"]
    ),
    st.dictionaries(
        st.sampled_from(["means", "mean", "split", "arm", "iteration", "weights", "ranks", "loss", "step"]),
        JSON,
    ),
)
def test_event_of_any_content_gives_finite_points_or_none(kind: str, data: dict[str, Any]) -> None:
    made = metrics_of([EventRecord(1, NOW, kind, data)])
    assert all(isinstance(one, Metric) and math.isfinite(one.value) for one in made)
    assert all(isinstance(one.step, int) for one in made)
