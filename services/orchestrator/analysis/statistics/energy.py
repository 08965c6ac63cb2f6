"""Energy distance of two sets of unit embeddings under the Euclidean chord, with a permutation test.

Székely and Rizzo 2013, equation 6.1: 2 E|X - Y| - E|X - X'| - E|Y - Y'|. Two texts of one input are no
independent draws, so labels change places only among the texts of the same input: exact under the hypothesis
that for each input both sides write from the same distribution, whatever the number of texts an input has.
The statistic is dcor's (a test holds it); dcor's own test permutes freely over all texts, and its distances
take seconds where one matrix product does.
"""

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.results import Distribution

_BATCH = 1_000


def energy_test(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    left_inputs: NDArray[np.intp],
    right_inputs: NDArray[np.intp],
    permutations: int,
    rng: np.random.Generator,
) -> Distribution:
    """Statistic and p-value.

    Args:
        left, right: unit rows, shapes (n, dimension) and (m, dimension).
        left_inputs, right_inputs: the input of each row, shapes (n,) and (m,).
        permutations: random relabelings.
    """
    inputs = np.concatenate([left_inputs, right_inputs])
    order = np.argsort(inputs, kind="stable")
    inputs = inputs[order]
    is_left = np.concatenate([np.ones(len(left), bool), np.zeros(len(right), bool)])[order]
    centred = _centred(chords(np.concatenate([left, right])[order]))
    # +1/n for the left and -1/m for the right: the statistic is minus the quadratic form of these weights.
    weights = np.where(is_left, 1.0 / len(left), -1.0 / len(right)).astype(np.float32)
    observed = float(_statistics(centred, weights[None])[0])
    groups = np.unique(inputs, return_inverse=True)[1].astype(np.float64)
    as_extreme = 0
    for start in range(0, permutations, _BATCH):
        count = min(_BATCH, permutations - start)
        # Sorted keys stay within their input's block, in a random order there. No two are equal in 64 bits:
        # how a sort breaks ties depends on the processor.
        keys = rng.random((count, len(inputs))) * 0.5 + groups
        permuted = weights[np.argsort(keys, axis=1)]
        as_extreme += int(np.sum(_statistics(centred, permuted) >= observed * (1 - 1e-5) - 1e-9))
    return Distribution(
        statistic=max(0.0, observed),
        p_value=(1 + as_extreme) / (1 + permutations),
        n_left=len(left),
        n_right=len(right),
    )


def chords(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances of unit rows, shape (n, n)."""
    squares = np.clip(2.0 - 2.0 * (rows @ rows.T), 0.0, 4.0)
    # Rounding makes 1e-16 of a zero, whose root is no longer small.
    squares[squares < 1e-12] = 0.0
    return np.asarray(np.sqrt(squares), dtype=np.float64)


def _centred(distances: NDArray[np.float64]) -> NDArray[np.float32]:
    # Weights that add up to 0 do not see the centring; float32 does: it keeps the small differences.
    rows = distances.mean(axis=0)
    return np.asarray(distances - rows[None] - rows[:, None] + rows.mean(), dtype=np.float32)


def _statistics(centred: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Energy distances of sets of weights, shape (sets,)."""
    return np.asarray(-np.einsum("bi,bi->b", weights @ centred, weights), dtype=np.float32)
