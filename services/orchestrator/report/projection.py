"""The plane of topic means (the paper's figures 6-9): metric MDS on cosine distances."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.report.schema import PointKind, ProjectionPoint

Vector = NDArray[np.floating]

_KINDS: tuple[PointKind, ...] = ("original", "reference", "realigned")
_SEED = 0
_SAME = 1e-9


def project(means: Mapping[str, Mapping[PointKind, Vector]]) -> list[ProjectionPoint]:
    """Places each topic's mean embeddings on a plane.

    ``means``: topic id -> kind -> mean embedding, shape (dimension,); kinds may be missing
    ("realigned" in a run that only measured). Equal input gives equal output: the originals' centre
    lies left of the references' centre, the point farthest off that axis lies above it, and the
    centre of all points is (0, 0).
    """
    keys = [(topic, kind) for topic, kinds in means.items() for kind in _KINDS if kind in kinds]
    if not keys:
        return []
    places = _orient(
        _mds(_cosine_distances([means[topic][kind] for topic, kind in keys])), [k for _, k in keys]
    )
    return [
        ProjectionPoint(topic=topic, kind=kind, x=round(float(x), 6) + 0.0, y=round(float(y), 6) + 0.0)
        for (topic, kind), (x, y) in zip(keys, places, strict=True)
    ]


def _cosine_distances(vectors: Sequence[Vector]) -> NDArray[np.float64]:
    """Shape (n, n), symmetric, zero diagonal; a zero vector is at distance 1 from all others."""
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(norms == 0, 1, norms)
    distances: NDArray[np.float64] = np.clip(1 - units @ units.T, 0, 2)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    distances[distances < _SAME] = 0
    return distances


def _mds(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n, 2). One point, or points that all coincide, need no search."""
    count = len(distances)
    if count == 1 or not distances.any():
        return np.zeros((count, 2))
    if count == 2:
        return np.array([[0.0, 0.0], [distances[0, 1], 0.0]])
    from sklearn.manifold import MDS

    model = MDS(
        n_components=2,
        metric_mds=True,
        metric="precomputed",
        init="random",  # replaced by the start that is given below
        n_init=1,
        max_iter=1000,
        random_state=_SEED,
        normalized_stress=False,
    )
    return np.asarray(model.fit_transform(distances, init=_start(distances))).astype(np.float64)


def _start(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Classical scaling, shape (n, 2). Cosine distances can break the triangle inequality (three points are
    enough), and then an eigenvalue is negative: it counts as 0, where scikit-learn's own start is NaN."""
    centred = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-0.5 * centred @ distances**2 @ centred)
    largest = [-1, -2]
    return np.asarray(np.sqrt(np.clip(values[largest], 0, None)) * vectors[:, largest])


def _orient(places: NDArray[np.float64], kinds: Sequence[PointKind]) -> NDArray[np.float64]:
    """MDS fixes no rotation, mirror or origin: fix them, so that two reports can be compared."""
    places = places - places.mean(axis=0)
    original = np.array([kind == "original" for kind in kinds])
    reference = np.array([kind == "reference" for kind in kinds])
    axis = np.zeros(2)
    if original.any() and reference.any():
        axis = places[reference].mean(axis=0) - places[original].mean(axis=0)
    if np.linalg.norm(axis) < _SAME:
        axis = np.linalg.svd(places, full_matrices=False)[2][0] if places.any() else np.array([1.0, 0.0])
        if places[0] @ axis > 0:
            axis = -axis
    cos, sin = axis / np.linalg.norm(axis)
    places = places @ np.array([[cos, -sin], [sin, cos]])
    if places[np.argmax(np.abs(places[:, 1])), 1] < 0:
        places[:, 1] *= -1
    return places
