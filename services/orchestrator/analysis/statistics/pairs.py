"""Per-input means of cosine distances in closed form: no matrix of all pairs is ever made.

For unit vectors a mean of cosines is the cosine product with a sum of vectors, so that "against all other
inputs of the topic" costs as much as "against the own". Distances are 1 - cosine.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.domain.difference import unit_rows

Floats: TypeAlias = NDArray[np.float64]


def unit_sums(rows: NDArray[np.float32], counts: Sequence[int]) -> Floats:
    """Sum of the unit rows of each input, shape (inputs, d).

    ``counts[i]`` >= 1 rows, one after the other, belong to input i.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    return np.asarray(np.add.reduceat(unit_rows(rows), starts, axis=0), dtype=np.float64)


def own(means: Floats, targets: Floats) -> Floats:
    """Mean distance of each input's texts (their mean unit vector) to its own target: shape (inputs,)."""
    return _distances(np.einsum("ij,ij->i", means, targets))


def others(means: Floats, targets: Floats, topics: Sequence[str]) -> Floats:
    """Distance to the targets of the topic's other inputs, as one value an input: shape (inputs,).

    The mean of the values of a topic is the mean over all its ordered pairs i != j. The values are the
    jackknife's pseudo-values of that U-statistic (Arvesen 1969), since every input takes part in the pairs as
    text and as target: resampling them gives its variance. A topic of two inputs has one pair and no such
    values: its two lie about its mean as far as the means of these topics scatter (collapsed strata). NaN in
    a topic of one input, which has no other.
    """
    found = np.full(len(means), np.nan)
    names = np.asarray(topics)
    two: list[NDArray[np.intp]] = []
    for topic in dict.fromkeys(topics):
        places = np.flatnonzero(names == topic)
        if len(places) < 2:
            continue
        texts, goals = means[places], targets[places]
        same = np.einsum("ij,ij->i", texts, goals)
        by_text = 1.0 - (texts @ goals.sum(axis=0) - same) / (len(places) - 1)
        by_target = 1.0 - (goals @ texts.sum(axis=0) - same) / (len(places) - 1)
        mean = by_text.mean()
        if len(places) == 2:
            found[places] = mean
            two.append(places)
        else:
            spread = (len(places) - 1) / (len(places) - 2)
            found[places] = mean + spread * (by_text + by_target - 2.0 * mean)
    if len(two) > 1:
        scatter = float(np.std([found[places[0]] for places in two], ddof=1))
        for places in two:
            found[places] += np.array([scatter, -scatter])
    return np.asarray(np.round(found, 12), dtype=np.float64)


def within(sums: Floats, counts: Sequence[int]) -> Floats:
    """Mean distance of all pairs of an input's own texts, shape (inputs,); ``counts`` >= 2."""
    number = np.asarray(counts, dtype=np.float64)
    cosines = (np.einsum("ij,ij->i", sums, sums) - number) / (number * (number - 1.0))
    return _distances(cosines)


def _distances(cosines: Floats) -> Floats:
    # Rounded, so that equal texts are at 0 and the order of a sum decides nothing.
    return np.asarray(np.round(np.clip(1.0 - cosines, 0.0, 2.0), 12), dtype=np.float64)
