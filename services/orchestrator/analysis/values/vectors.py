"""Mean value vectors of texts with bootstrap intervals: by topic and pooled over the topics.

Texts of one sample each: an input is one text, and inputs are what is resampled.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.orchestrator.analysis.results import Estimate
from services.orchestrator.analysis.values.dimensions import ANSWERS, LABELS, VALUES, Floats, distances
from services.orchestrator.analysis.values.results import LabelShares, ValueVector

_CELLS = 2_000_000
"""Numbers of one block of resamples: few large products are faster than many small ones."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made; ``seed`` is the study's."""

    seed: int
    resamples: int
    level: float

    def random(self, *names: str) -> np.random.Generator:
        """A stream of its own for each name, so that no interval depends on what else is computed."""
        text = "|".join(("values", str(self.seed), *names))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))

    def estimate(self, value: float, drawn: Floats, n: int) -> Estimate:
        """With its percentile interval; none for fewer than two inputs."""
        known = drawn[np.isfinite(drawn)]
        if n < 2 or not len(known):
            return Estimate(value=value, n=n)
        low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Estimate(value=value, low=float(low), high=float(high), n=n)


@dataclass(frozen=True, slots=True)
class Scored:
    """Texts of one topic: soft scores and likeliest answers, shape (n, 10); NaN where there is none."""

    scores: Floats
    labels: Floats

    def distances(self, target: Mapping[str, float], spoken: Sequence[str]) -> Floats:
        """Distance of each text over the values that are spoken of, shape (n,); NaN if one is missing."""
        columns = [VALUES.index(name) for name in spoken]
        goal = np.array([target[name] for name in spoken])
        return distances(self.scores[:, columns], goal)


def pooled_means(
    columns: Sequence[Floats], resampling: Resampling, name: str
) -> tuple[Floats, Floats, Floats]:
    """Means, and how they vary, of several quantities over topics.

    ``columns``: one array a topic, shape (n_t, k), NaN for what is missing. Returns the pooled means (the
    mean of the topics' means), shape (k,), resampled pooled means, shape (B, k), and counts, shape (k,).
    A topic without a number in a column is left out of it.
    """
    counts = np.sum([np.isfinite(part).sum(axis=0) for part in columns], axis=0)
    means = _mean_of_topics([_weighted(np.ones((1, len(part))), part) for part in columns])[0]
    random = resampling.random(name)
    drawn = []
    block = max(1, _CELLS // max(len(part) for part in columns))
    for start in range(0, resampling.resamples, block):
        size = min(block, resampling.resamples - start)
        drawn.append(
            _mean_of_topics(
                [_weighted(_times(random, len(part), size), part) for part in columns if len(part)]
            )
        )
    return means, np.concatenate(drawn), counts


def vector(
    topics: Sequence[Scored],
    target: Mapping[str, float],
    spoken: Sequence[str],
    resampling: Resampling,
    name: str,
) -> ValueVector:
    """The mean vector and distance of these topics' texts, pooled."""
    columns = [
        np.column_stack([part.scores, part.distances(target, spoken)])
        if spoken
        else np.column_stack([part.scores, np.full(len(part.scores), np.nan)])
        for part in topics
    ]
    means, drawn, counts = pooled_means(columns, resampling, name)
    scores: dict[str, Estimate | None] = {}
    shares: dict[str, LabelShares | None] = {}
    for place, value in enumerate(VALUES):
        said = value in spoken and counts[place] > 0
        scores[value] = (
            resampling.estimate(float(means[place]), drawn[:, place], int(counts[place])) if said else None
        )
        shares[value] = _shares([part.labels[:, place] for part in topics]) if said else None
    n = int(counts[-1])
    distance = resampling.estimate(float(means[-1]), drawn[:, -1], n) if n else None
    return ValueVector(n=n, scores=scores, shares=shares, distance=distance)


def _shares(labels: Sequence[Floats]) -> LabelShares:
    parts = [part[np.isfinite(part)] for part in labels]
    parts = [part for part in parts if len(part)]
    mean = {answer: float(np.mean([np.mean(part == LABELS[answer]) for part in parts])) for answer in ANSWERS}
    return LabelShares(important=mean["important"], none=mean["none"], opposed=mean["opposed"])


def _times(random: np.random.Generator, n: int, size: int) -> Floats:
    """How often each of n inputs is drawn in each of ``size`` resamples, shape (size, n)."""
    # Counting drawn places is many times faster than multinomial draws of this width.
    drawn = random.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _weighted(times: Floats, values: Floats) -> Floats:
    """Means of the columns under each row of weights, shape (b, k); NaN where all weight is on gaps."""
    known = np.isfinite(values)
    if known.all():
        return np.asarray(times @ values / times.sum(axis=1, keepdims=True), dtype=np.float64)
    total = times @ known.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((times @ np.where(known, values, 0.0)) / total, dtype=np.float64)


def _mean_of_topics(means: Sequence[Floats]) -> Floats:
    stacked = np.stack(means)
    known = np.isfinite(stacked)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(known, stacked, 0.0).sum(axis=0) / known.sum(axis=0), dtype=np.float64)
