"""Value differences between sentence embeddings (paper equation 1) and what is read off them."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Values: TypeAlias = Sequence[float] | NDArray[np.float64]


def value_differences(left: Rows, right: Rows) -> NDArray[np.float64]:
    """1 - cosine of each pair of rows (equation 1): shape (n,), in [0, 2].

    ``left`` and ``right`` have shape (n, dimension) and need not be normalised. ValueError for
    other shapes, and for a row that is zero or not finite: it has no direction.
    """
    if left.shape != right.shape or left.ndim != 2:
        raise ValueError(f"rows of equal shape (n, dimension) expected, not {left.shape} and {right.shape}")
    cosine = np.einsum("ij,ij->i", unit_rows(left), unit_rows(right))
    return np.asarray(np.clip(1.0 - cosine, 0.0, 2.0), dtype=np.float64)


def unit_rows(rows: Rows) -> NDArray[np.float64]:
    """Rows scaled to length 1, in float64. ValueError for a zero or non-finite row."""
    wide = rows.astype(np.float64)
    # Scaled by the largest entry first, so that squares neither overflow nor vanish.
    largest = np.max(np.abs(wide), axis=1, keepdims=True, initial=0.0)
    if not np.all(np.isfinite(largest)) or np.any(largest == 0):
        bad = int(np.flatnonzero(~np.isfinite(largest[:, 0]) | (largest[:, 0] == 0))[0])
        raise ValueError(f"embedding {bad} is zero or not finite: it has no direction")
    scaled = wide / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), dtype=np.float64)


def topic_means(
    differences: Sequence[float] | NDArray[np.float64], topics: Sequence[str]
) -> dict[str, float]:
    """Mean value difference by topic, in order of first appearance; ``topics[i]`` is pair i's topic."""
    grouped: dict[str, list[float]] = {}
    for difference, topic in zip(differences, topics, strict=True):
        grouped.setdefault(topic, []).append(float(difference))
    return {topic: float(np.mean(values)) for topic, values in grouped.items()}


def overall_mean(means: Mapping[str, float]) -> float:
    """Mean of the topic means: every topic counts the same, however many pairs it has."""
    if not means:
        raise ValueError("no topic means")
    return float(np.mean(list(means.values())))


def rank_topics(means: Mapping[str, float]) -> tuple[str, ...]:
    """Topic ids, largest mean difference first; equals keep the order of ``means``."""
    return tuple(sorted(means, key=lambda topic: -means[topic]))


def reduction(before: float, after: float) -> float | None:
    """1 - after / before as a fraction (0.4 is the paper's "-40 %"); None if before is 0."""
    return 1.0 - after / before if before > 0 else None


def medoid(rows: Rows) -> int:
    """Index of the row with the smallest mean cosine distance to the others; the first of equals."""
    if len(rows) == 0:
        raise ValueError("no rows to choose a medoid from")
    unit = unit_rows(rows)
    # The sum of cosines with all rows is the product with their sum: no n x n matrix is needed.
    return int(np.argmax(np.round(unit @ unit.sum(axis=0), 12)))


def constant_differences(row: Rows, targets: Rows) -> NDArray[np.float64]:
    """Value difference of one fixed sentence (shape (dimension,)) against each target row: shape (n,)."""
    return value_differences(np.tile(row.astype(np.float64), (len(targets), 1)), targets)


def most_moved(before: Values, after: Values, count: int = 10) -> tuple[int, ...]:
    """Indices of the pairs whose difference fell most, the largest fall first; equals by index."""
    fall = np.asarray(before, dtype=np.float64) - np.asarray(after, dtype=np.float64)
    return tuple(int(index) for index in np.argsort(-fall, kind="stable")[:count])
