"""Sign-flip permutation test of paired differences, and Holm's adjustment over topics.

Under the null hypothesis the two arms of an input could change places, so each difference could as well have
the other sign (Fisher 1935; Good 2005, section 3.2). Inputs are the units: samples and training seeds are
averaged before, and the p-value is about these trainings.
"""

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_BATCH = 1_000
_NOTHING = 1e-12


def sign_flip(
    differences: NDArray[np.float64],
    weights: NDArray[np.float64],
    permutations: int,
    seed: int,
    name: str = "",
) -> float | None:
    """Two-sided p-value of the weighted sum of ``differences``; None with fewer than 2 inputs.

    Args:
        differences: one per input, shape (n,).
        weights: their weights in the statistic, shape (n,); e.g. 1 / (topics * inputs of the topic).
        permutations: random sign patterns; every pattern is taken (exact) if 2**n is not more.
        seed: with ``name`` it determines the random patterns.
    """
    if len(differences) < 2:
        return None
    # Equal texts differ by rounding alone, whose sign says nothing.
    scaled = np.where(np.abs(differences) < _NOTHING, 0.0, differences) * weights
    if not np.any(scaled):
        return 1.0

    def total(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(values.sum(axis=axis), dtype=np.float64)

    found = stats.permutation_test(
        (scaled,),
        total,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        batch=_BATCH,
        alternative="two-sided",
        rng=np.random.default_rng((seed, zlib.crc32(f"signs/{name}".encode()))),
    )
    return float(found.pvalue)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float]:
    """Holm's (1979) adjusted p-values of those that are there.

    As ``multipletests`` of statsmodels gives them (a test holds it), which collects garbage in every call:
    with a run's texts in memory that costs more than all the tests that it adjusts.
    """
    there = sorted((value, name) for name, value in p_values.items() if value is not None)
    steps = np.array([value * (len(there) - rank) for rank, (value, _) in enumerate(there)])
    adjusted = np.minimum(np.maximum.accumulate(steps), 1.0) if there else steps
    return {name: float(value) for (_, name), value in zip(there, adjusted, strict=True)}


def effect_size(differences: NDArray[np.float64], mean: float) -> float | None:
    """``mean`` / standard deviation of the differences (Cohen's dz); None without a spread."""
    if len(differences) < 2:
        return None
    spread = float(np.std(differences, ddof=1))
    return mean / spread if spread > _NOTHING else None
