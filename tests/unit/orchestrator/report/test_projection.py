"""The plane: distances kept, orientation fixed, degenerate inputs handled."""

import numpy as np
import pytest
from numpy.typing import NDArray

from services.orchestrator.report.projection import project
from services.orchestrator.report.schema import PointKind

Means = dict[str, dict[PointKind, NDArray[np.float32]]]


def _means(topics: int, seed: int = 0) -> Means:
    rng = np.random.default_rng(seed)
    far = rng.normal(size=(3, 32))
    return {
        f"t{index}": {
            "original": (far[0] + 0.3 * rng.normal(size=32)).astype(np.float32),
            "reference": (far[1] + 0.3 * rng.normal(size=32)).astype(np.float32),
            "realigned": (far[0] + 2 * far[1] + 0.3 * rng.normal(size=32)).astype(np.float32),
        }
        for index in range(topics)
    }


def test_project_same_input_gives_same_points() -> None:
    assert project(_means(6)) == project(_means(6))


def test_project_six_topics_originals_left_references_right_centre_at_origin() -> None:
    points = project(_means(6))
    assert len(points) == 18
    x = {
        kind: np.mean([p.x for p in points if p.kind == kind])
        for kind in ("original", "reference", "realigned")
    }
    assert x["original"] < x["realigned"] < x["reference"]
    assert np.mean([p.x for p in points]) == pytest.approx(0, abs=1e-5)
    assert np.mean([p.y for p in points]) == pytest.approx(0, abs=1e-5)
    centres = [np.mean([p.y for p in points if p.kind == kind]) for kind in ("original", "reference")]
    assert centres[0] == pytest.approx(centres[1], abs=1e-5)
    assert max(points, key=lambda p: abs(p.y)).y > 0


def test_project_three_orthogonal_vectors_lie_at_distance_one() -> None:
    eye = np.eye(3, dtype=np.float32)
    points = project({"t": {"original": eye[0], "reference": eye[1], "realigned": eye[2]}})
    places = np.array([(p.x, p.y) for p in points])
    gaps = [np.linalg.norm(places[a] - places[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert gaps == pytest.approx([1, 1, 1], abs=1e-2)


def test_project_length_of_vectors_changes_nothing() -> None:
    scaled: Means = {t: {kind: v * 4 for kind, v in kinds.items()} for t, kinds in _means(3).items()}
    for one, other in zip(project(_means(3)), project(scaled), strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=1e-4)


def test_project_two_points_lie_at_their_distance_on_the_axis() -> None:
    eye = np.eye(2, dtype=np.float32)
    first, second = project({"t": {"original": eye[0], "reference": eye[1]}})
    assert (first.x, first.y, second.x, second.y) == pytest.approx((-0.5, 0, 0.5, 0))


def test_project_one_point_is_the_origin() -> None:
    (point,) = project({"t": {"original": np.ones(3, dtype=np.float32)}})
    assert (point.x, point.y) == (0, 0)


def test_project_identical_points_all_lie_at_the_origin() -> None:
    same = np.ones(5, dtype=np.float32)
    points = project({t: {"original": same, "reference": same, "realigned": same} for t in "ab"})
    assert {(p.x, p.y) for p in points} == {(0, 0)}


def test_project_realigned_on_the_reference_coincides_with_it() -> None:
    eye = np.eye(3, dtype=np.float32)
    points = {
        p.kind: p for p in project({"t": {"original": eye[0], "reference": eye[1], "realigned": eye[1]}})
    }
    assert points["realigned"].x == pytest.approx(points["reference"].x, abs=1e-3)
    assert points["realigned"].y == pytest.approx(points["reference"].y, abs=1e-3)


def test_project_zero_vector_gives_finite_places() -> None:
    eye = np.eye(2, dtype=np.float32)
    points = project(
        {"t": {"original": np.zeros(2, dtype=np.float32), "reference": eye[0], "realigned": eye[1]}}
    )
    assert all(np.isfinite([p.x, p.y]).all() for p in points)


def test_project_nothing_gives_nothing() -> None:
    assert project({}) == []


def test_project_three_points_that_break_the_triangle_inequality_are_placed() -> None:
    angles = (0.0, 0.7, 1.4)  # 1 - cos of the whole turn is more than twice that of half of it
    rows = [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    found = project({"t": {"original": rows[0], "reference": rows[1], "realigned": rows[2]}})
    assert all(np.isfinite([point.x, point.y]).all() for point in found)
