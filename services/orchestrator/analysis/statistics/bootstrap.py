"""Paired bootstrap of means, differences and ratios, clustered by input and crossed with training seeds.

Inputs are resampled within their topic and training seeds among themselves, both at once (the pigeonhole
bootstrap: McCullagh 2000; Owen 2007). Of n clusters n - 1 are drawn, so that the variance is right for small
n too (Rao and Wu 1988). The percentile interval is widened about the estimate by the ratio of Student's
quantile to the normal one, with Welch-Satterthwaite degrees of freedom (after Hesterberg 2015, expanded
percentile intervals): with two or three clusters a topic, percentiles alone are far too narrow.

Topics of a single input are collapsed into one stratum for the pooled interval (Cochran 1977, section 5A.12);
with only one such topic its chance is left out, and by itself it has no interval.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.orchestrator.analysis.results import Estimate

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """One number per training seed and input: ``values`` has shape (seeds, inputs), one row if untrained.

    ``trained``: name of what was trained, "" for nothing. Columns with the same name have their seeds
    resampled together, since they come from the same trainings.
    """

    values: Floats
    trained: str = ""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A smooth function of column means: of arrays elementwise, with its gradient and natural bounds."""

    of: Callable[..., Floats]
    gradient: Callable[..., tuple[float, ...]]
    low: float = -np.inf
    high: float = np.inf


MEAN = Statistic(lambda mean: mean, lambda mean: (1.0,), 0.0, 2.0)
"""(mean): a value difference."""
DIFFERENCE = Statistic(lambda arm, against: against - arm, lambda arm, against: (-1.0, 1.0), -2.0, 2.0)
"""(arm, against): above 0 the arm lies nearer."""
REDUCTION = Statistic(
    lambda arm, against: 1.0 - arm / against,
    lambda arm, against: (-1.0 / against, arm / against**2),
    high=1.0,
)
"""(arm, against): the paper's reduction as a fraction."""


def _scaled_gradient(mean: float, floor: float, ceiling: float) -> tuple[float, ...]:
    span = floor - ceiling
    return (-1.0 / span, (mean - ceiling) / span**2, (floor - mean) / span**2)


SCALED = Statistic(lambda mean, floor, ceiling: (floor - mean) / (floor - ceiling), _scaled_gradient)
"""(mean, floor, ceiling): 0 at the floor, 1 at the ceiling."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """The pooled estimate (of the means of topic means) and those of the topics, in order."""

    pooled: Estimate
    by_topic: dict[str, Estimate]


class Bootstrap:
    """Resamples of a fixed list of inputs; the same for every statistic that is asked of them."""

    def __init__(self, topics: Sequence[str], resamples: int, level: float, seed: int) -> None:
        """``topics``: the topic of each input, shape (inputs,); ``level``: e.g. 0.95."""
        self._members = {
            topic: np.flatnonzero([other == topic for other in topics]) for topic in dict.fromkeys(topics)
        }
        self._resamples, self._level, self._seed = resamples, level, seed
        self._counts = {
            topic: self._draw(f"inputs/{topic}", len(members)) for topic, members in self._members.items()
        }
        self._single = [topic for topic, members in self._members.items() if len(members) == 1]
        if len(self._single) > 1:
            # Drawn among each other, each of them as often as it counts in the pooled mean of that resample.
            drawn = self._draw("inputs of single topics", len(self._single))
            self._counts |= {topic: drawn[:, [place]] for place, topic in enumerate(self._single)}

    def estimate(self, statistic: Statistic, columns: Sequence[Column]) -> Estimates | None:
        """Estimates of ``statistic`` of the columns' means; None where it is not finite in some topic."""
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [self._means(column) for column in columns]
            topics = statistic.of(*means)
            pooled = float(statistic.of(*(mean.mean() for mean in means)))
            if not np.isfinite(pooled):
                return None
            replicates = [self._replicates(column) for column in columns]
            spread = statistic.of(*replicates)
            pooled_spread = statistic.of(*(each.mean(axis=1) for each in replicates))
        by_topic = {
            topic: self._interval(statistic, float(topics[place]), spread[:, place], columns, [topic])
            for place, topic in enumerate(self._members)
            if np.isfinite(topics[place])
        }
        return Estimates(
            self._interval(statistic, pooled, pooled_spread, columns, list(self._members)), by_topic
        )

    def _interval(
        self,
        statistic: Statistic,
        value: float,
        spread: Floats,
        columns: Sequence[Column],
        topics: Sequence[str],
    ) -> Estimate:
        members = [self._members[topic] for topic in topics]
        inputs = sum(len(places) for places in members)
        finite = spread[np.isfinite(spread)]
        freedom = _freedom(statistic, columns, members)
        if freedom is None or 2 * len(finite) < len(spread):
            return Estimate(value=value, n=inputs)
        tail = (1.0 - self._level) / 2.0
        wider = float(stats.t.ppf(1.0 - tail, freedom) / stats.norm.ppf(1.0 - tail))
        low, high = (value + wider * (np.quantile(finite, at) - value) for at in (tail, 1.0 - tail))
        return Estimate(
            value=value,
            low=float(max(min(low, value), statistic.low)),
            high=float(min(max(high, value), statistic.high)),
            n=inputs,
        )

    def _means(self, column: Column) -> Floats:
        """Topic means over inputs and seeds, shape (topics,)."""
        return np.array([column.values[:, places].mean() for places in self._members.values()])

    def _replicates(self, column: Column) -> Floats:
        """Resampled topic means, shape (resamples, topics)."""
        seeds = len(column.values)
        weights = self._draw(f"seeds/{column.trained}", seeds).astype(np.float64) / max(1, seeds - 1)
        found = np.empty((self._resamples, len(self._members)))
        for place, (topic, places) in enumerate(self._members.items()):
            counts = self._counts[topic].astype(np.float64)
            if len(places) > 1:
                counts /= len(places) - 1
            elif len(self._single) > 1:
                counts *= len(self._single) / (len(self._single) - 1)
            found[:, place] = np.einsum("bs,bs->b", counts @ column.values[:, places].T, weights)
        return found

    def _draw(self, name: str, clusters: int) -> NDArray[np.uint16]:
        """How often each cluster is drawn: shape (resamples, clusters). One cluster is always drawn once."""
        if clusters == 1:
            return np.ones((self._resamples, 1), dtype=np.uint16)
        rng = np.random.default_rng((self._seed, zlib.crc32(name.encode("utf-8"))))
        even = np.full(clusters, 1.0 / clusters)
        return rng.multinomial(clusters - 1, even, size=self._resamples).astype(np.uint16)


def _freedom(
    statistic: Statistic, columns: Sequence[Column], strata: Sequence[NDArray[np.intp]]
) -> float | None:
    """Welch-Satterthwaite degrees of freedom of the linearised statistic; None if no inputs can be compared.

    Variance components: of the inputs in each topic, and of the training seeds in each column's training.
    """
    means = [float(np.mean([column.values[:, places].mean() for places in strata])) for column in columns]
    slopes = statistic.gradient(*means)
    linear = np.sum(
        [slope * column.values.mean(axis=0) for slope, column in zip(slopes, columns, strict=True)], axis=0
    )
    components = [_component(linear[places], 1 / len(strata)) for places in strata if len(places) > 1]
    single = [places[0] for places in strata if len(places) == 1]
    if len(single) > 1:
        components.append(_component(linear[single], len(single) / len(strata)))
    if not components:
        return None
    for name in dict.fromkeys(column.trained for column in columns):
        by_seed = np.sum(
            [
                slope * np.mean([column.values[:, places].mean(axis=1) for places in strata], axis=0)
                for slope, column in zip(slopes, columns, strict=True)
                if column.trained == name
            ],
            axis=0,
        )
        if len(by_seed) > 1:
            components.append(_component(by_seed, 1.0))
    total = sum(variance for variance, _ in components)
    # Squares of tiny variances vanish: shares of the total do not.
    shares = [(variance / total, freedom) for variance, freedom in components] if total > 0 else []
    weight = sum(share**2 / freedom for share, freedom in shares)
    return 1.0 / weight if weight > 0 else float(sum(freedom for _, freedom in components))


def _component(values: Floats, share: float) -> tuple[float, int]:
    """Variance of ``share`` times the mean of the values, and its degrees of freedom."""
    return share**2 * float(np.var(values, ddof=1)) / len(values), len(values) - 1
