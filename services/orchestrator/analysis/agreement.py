"""Krippendorff's alpha: how far several reviewers' ratings of the same items agree, beyond chance.

alpha = 1 - D_o / D_e, the observed disagreement against the one that is expected when the same values are
dealt out by chance (Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011; "Content Analysis",
4th ed., chapter 12). 1: perfect agreement; 0: what chance gives; below 0: systematic disagreement. Ratings
may be missing; an item with fewer than two says nothing of agreement and is left out. Where all ratings are
one and the same value there is no variation that reviewers could agree on, and alpha is undefined.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Literal["nominal", "ordinal", "interval"]

RELIABLE: Final = 0.8
"""Krippendorff's customary level: data at or above it are reliable (Content Analysis, chapter 12)."""
TENTATIVE: Final = 0.667
"""The lowest level at which he lets tentative conclusions be drawn."""

_CHUNK: Final = 500


def coincidences(units: Iterable[Sequence[float]], values: Sequence[float]) -> Floats:
    """Coincidence matrix of each unit, shape (units, v, v); v ``values`` in rising order.

    A unit of m ratings has m (m - 1) ordered pairs, each counting 1 / (m - 1). ValueError for a rating that
    is none of ``values``.
    """
    place = {float(value): number for number, value in enumerate(values)}
    found = []
    for unit in units:
        counts = np.zeros(len(place))
        for rating in unit:
            if float(rating) not in place:
                raise ValueError(
                    f"rating {rating:g} is none of {', '.join(f'{value:g}' for value in values)}"
                )
            counts[place[float(rating)]] += 1
        pairs = np.outer(counts, counts) - np.diag(counts)
        size = counts.sum()
        found.append(pairs / (size - 1) if size > 1 else np.zeros_like(pairs))
    return np.asarray(found, dtype=np.float64).reshape(len(found), len(place), len(place))


def alpha_of(matrices: Floats, values: Sequence[float], metric: Metric) -> Floats:
    """Alpha of summed coincidence matrices, shape (...,) from (..., v, v); NaN where it is undefined."""
    marginals = matrices.sum(axis=-1)
    total = marginals.sum(axis=-1)
    distances = _distances(marginals, values, metric)
    observed = (matrices * distances).sum(axis=(-2, -1))
    expected = (marginals[..., :, None] * marginals[..., None, :] * distances).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1.0 - (total - 1.0) * observed / expected
    return np.asarray(np.where(expected > 0, found, np.nan), dtype=np.float64)


def krippendorff_alpha(units: Iterable[Sequence[float]], metric: Metric = "ordinal") -> float | None:
    """Alpha of these units (the ratings of each item, however many); None where it is undefined.

    It is undefined if no item has two ratings, and if all ratings of such items are equal.
    """
    paired = [tuple(float(rating) for rating in unit) for unit in units if len(unit) > 1]
    values = sorted({rating for unit in paired for rating in unit})
    if len(values) < 2:
        return None
    found = float(alpha_of(coincidences(paired, values).sum(axis=0), values, metric))
    return found if np.isfinite(found) else None


def resampled_alphas(
    matrices: Floats,
    clusters: Sequence[object],
    values: Sequence[float],
    metric: Metric,
    *,
    resamples: int,
    seed: int,
) -> Floats:
    """Alphas of resampled clusters of units, shape (resamples,); NaN where a resample has no variation.

    ``clusters[i]`` is unit i's: units that belong together (the arms' texts for one input) are drawn so.
    """
    number = {cluster: index for index, cluster in enumerate(dict.fromkeys(clusters))}
    size = matrices.shape[-1]
    sums = np.zeros((len(number), size * size))
    for matrix, cluster in zip(matrices, clusters, strict=True):
        sums[number[cluster]] += matrix.ravel()
    random = np.random.default_rng(seed)
    even = np.full(len(sums), 1 / len(sums))
    parts = []
    for start in range(0, resamples, _CHUNK):
        drawn = random.multinomial(len(sums), even, size=min(_CHUNK, resamples - start)) @ sums
        summed = np.asarray(drawn.reshape(-1, size, size), dtype=np.float64)
        parts.append(alpha_of(summed, values, metric))
    return np.concatenate(parts)


def _distances(marginals: Floats, values: Sequence[float], metric: Metric) -> Floats:
    """Squared differences of all pairs of values, shape (..., v, v)."""
    if metric == "nominal":
        return np.broadcast_to(1.0 - np.eye(len(values)), (*marginals.shape, len(values)))
    if metric == "interval":
        line = np.asarray(values, dtype=np.float64)
        return np.broadcast_to((line[:, None] - line[None, :]) ** 2, (*marginals.shape, len(values)))
    # Ordinal: how many ratings lie between two values, each end counting half.
    middle = np.cumsum(marginals, axis=-1) - marginals / 2.0
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2, dtype=np.float64)
