"""What a closed review's ratings say: agreement, correlation with the metric, ratings by arm.

Intervals are percentile bootstraps over inputs, so that the arms' texts for one input are drawn together;
those of mean ratings are ``statistics.bootstrap``'s. Reviewers are not resampled: the intervals speak of
these reviewers on other inputs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from services.orchestrator.analysis.agreement import (
    RELIABLE,
    TENTATIVE,
    Floats,
    Metric,
    alpha_of,
    coincidences,
    resampled_alphas,
)
from services.orchestrator.analysis.evidence import ArmKind, Key
from services.orchestrator.analysis.human_review import (
    RATINGS,
    Agreement,
    ArmRating,
    Correlation,
    FrozenItem,
    HumanReview,
    RatedItem,
    RatingDifference,
    ReviewFile,
    StageOne,
)
from services.orchestrator.analysis.results import Estimate
from services.orchestrator.analysis.statistics.bootstrap import Bootstrap, Column, Statistic

MOST_RESAMPLES: Final = 2000
_LEAST_RESAMPLES: Final = 100
_FEWEST_ITEMS: Final = 3
_ORDER: Final = tuple(kind.value for kind in ArmKind)
_MEAN = Statistic(lambda mean: mean, lambda mean: (1.0,), 1.0, 10.0)
_DIFFERENCE = Statistic(lambda arm, against: arm - against, lambda arm, against: (1.0, -1.0), -9.0, 9.0)


@dataclass(frozen=True, slots=True)
class _Rated:
    item: FrozenItem
    ratings: tuple[int, ...]

    @property
    def mean(self) -> float:
        return sum(self.ratings) / len(self.ratings)

    @property
    def key(self) -> Key:
        return self.item.topic_id, self.item.index


def review_results(
    file: ReviewFile, stage_one: Sequence[StageOne], topic_ids: Sequence[str], measurement: Mapping[str, Any]
) -> HumanReview:
    """Every number of a review.

    Args:
        stage_one: by arm, as ``stage_one.freeze`` gives it.
        topic_ids: in the study's order.
        measurement: the study's section: ``confidence`` and ``resamples`` (2000 at most are used here).

    ValueError for a rating of an item that there is not, and for two ratings of one item by one reviewer.
    """
    given: dict[int, dict[str, int]] = {item.number: {} for item in file.items}
    for rating in file.ratings:
        if rating.number not in given or rating.reviewer in given[rating.number]:
            raise ValueError(
                f"rating of item {rating.number} by {rating.reviewer}: no such item, or there twice"
            )
        given[rating.number][rating.reviewer] = rating.rating
    rated = [
        _Rated(item, tuple(rating for _, rating in sorted(given[item.number].items())))
        for item in sorted(file.items, key=lambda item: item.number)
        if given[item.number]
    ]
    level = float(measurement["confidence"])
    resamples = min(int(measurement["resamples"]), MOST_RESAMPLES)
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": file.seed}
    topics = [topic for topic in topic_ids if any(one.item.topic_id == topic for one in rated)]
    by_topic = {topic: [one for one in rated if one.item.topic_id == topic] for topic in topics}
    return HumanReview(
        review_id=file.review_id,
        items_sha256=file.items_sha256,
        threshold=file.threshold,
        reviewers_per_item=file.reviewers_per_item,
        items=len(file.items),
        ratings=len(file.ratings),
        raters=len({rating.reviewer for rating in file.ratings}),
        author_rated=any(rating.reviewer == file.author for rating in file.ratings),
        flagged=file.flagged,
        stage_one=tuple(stage_one),
        agreement=_agreement(rated, **options),
        agreement_by_topic={topic: _agreement(mine, **options) for topic, mine in by_topic.items()},
        correlation=_correlation(rated, **options),
        correlation_by_topic={topic: _correlation(mine, **options) for topic, mine in by_topic.items()},
        arms=tuple(_arm(arm, rated, topics, **options) for arm in file.arms),
        differences=tuple(_differences(file.arms, rated, topics, **options)),
        rated=tuple(
            RatedItem(
                number=one.item.number,
                arm=one.item.arm,
                topic=one.item.topic_id,
                metric=one.item.metric,
                rating=one.mean,
                ratings=len(one.ratings),
                by_others=sum(name != file.author for name in given[one.item.number]),
            )
            for one in rated
        ),
    )


def _agreement(rated: Sequence[_Rated], *, level: float, resamples: int, seed: int) -> Agreement:
    units = [one for one in rated if len(one.ratings) > 1]
    count = sum(len(one.ratings) for one in units)
    if not units:
        told = "No item has two ratings: nothing can be said of agreement."
        return Agreement(items=0, ratings=0, ordinal=None, interval=None, reading=told)
    matrices = coincidences([one.ratings for one in units], RATINGS)
    clusters = [one.key for one in units]

    def estimate(metric: Metric) -> Estimate | None:
        value = float(alpha_of(matrices.sum(axis=0), RATINGS, metric))
        if not np.isfinite(value):
            return None
        drawn = resampled_alphas(matrices, clusters, RATINGS, metric, resamples=resamples, seed=seed)
        return _estimate(value, drawn, level, len(set(clusters)))

    ordinal, interval = estimate("ordinal"), estimate("interval")
    reading = reading_of(ordinal.value) if ordinal else "All ratings are the same: alpha is undefined."
    return Agreement(items=len(units), ratings=count, ordinal=ordinal, interval=interval, reading=reading)


def reading_of(alpha: float) -> str:
    """An alpha in words, by the levels that Krippendorff calls customary."""
    if alpha >= RELIABLE:
        return f"Reliable by Krippendorff's customary level of {RELIABLE:g}."
    if alpha >= TENTATIVE:
        return (
            f"Between {TENTATIVE:g} and {RELIABLE:g}: by Krippendorff's levels, tentative conclusions alone."
        )
    if alpha > 0:
        return f"Below {TENTATIVE:g}, the lowest level that Krippendorff lets conclusions be drawn at."
    return "No better than chance: the reviewers do not agree on what they rate."


def _correlation(rated: Sequence[_Rated], *, level: float, resamples: int, seed: int) -> Correlation:
    items = len(rated)
    if items < _FEWEST_ITEMS:
        return Correlation(items=items, spearman=None, pearson=None)
    metric = np.asarray([one.item.metric for one in rated])
    ratings = np.asarray([one.mean for one in rated])
    weights = _drawn([one.key for one in rated], resamples, seed)
    once = np.ones((1, items))

    def estimate(of: Any) -> Estimate | None:
        value = float(of(once, metric, ratings)[0])
        inputs = len({one.key for one in rated})
        return _estimate(value, of(weights, metric, ratings), level, inputs) if np.isfinite(value) else None

    return Correlation(items=items, spearman=estimate(_spearman), pearson=estimate(_pearson_of))


def _drawn(clusters: Sequence[Key], resamples: int, seed: int) -> Floats:
    """How often each item is drawn, shape (resamples, items); items of one input together."""
    number = {cluster: index for index, cluster in enumerate(dict.fromkeys(clusters))}
    random = np.random.default_rng(seed)
    counts = random.multinomial(len(number), np.full(len(number), 1 / len(number)), size=resamples)
    return np.asarray(counts[:, [number[cluster] for cluster in clusters]], dtype=np.float64)


def _pearson_of(weights: Floats, left: Floats, right: Floats) -> Floats:
    shape = weights.shape
    return _pearson(weights, np.broadcast_to(left, shape), np.broadcast_to(right, shape))


def _spearman(weights: Floats, left: Floats, right: Floats) -> Floats:
    return _pearson(weights, _ranks(weights, left), _ranks(weights, right))


def _ranks(weights: Floats, values: Floats) -> Floats:
    """Mean ranks within each resample, shape (resamples, items)."""
    below = (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])
    return np.asarray(weights @ below.T, dtype=np.float64)


def _pearson(weights: Floats, left: Floats, right: Floats) -> Floats:
    """Weighted correlation by row, shape (resamples,); NaN where a side does not vary."""
    total = weights.sum(axis=1, keepdims=True)
    x = left - (weights * left).sum(axis=1, keepdims=True) / total
    y = right - (weights * right).sum(axis=1, keepdims=True) / total
    spread = (weights * x**2).sum(axis=1) * (weights * y**2).sum(axis=1)
    # What rounding leaves of a side that does not vary is no variation.
    scale = (total[:, 0] * (1e-12 + np.abs(left).max()) * (1e-12 + np.abs(right).max())) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (weights * x * y).sum(axis=1) / np.sqrt(spread)
    return np.asarray(np.where(spread > 1e-24 * scale, np.clip(found, -1, 1), np.nan), dtype=np.float64)


def _arm(arm: str, rated: Sequence[_Rated], topics: Sequence[str], **options: Any) -> ArmRating:
    mine = {one.key: one for one in rated if one.item.arm == arm}
    count = sum(len(one.ratings) for one in mine.values())
    pooled, by_topic = _mean(_MEAN, [{key: one.mean for key, one in mine.items()}], topics, **options)
    return ArmRating(arm=arm, items=len(mine), ratings=count, mean=pooled, by_topic=by_topic)


def _differences(
    arms: Sequence[str], rated: Sequence[_Rated], topics: Sequence[str], **options: Any
) -> Iterable[RatingDifference]:
    """Each pair of arms once, the later one of the usual order against the earlier."""
    means = {arm: {one.key: one.mean for one in rated if one.item.arm == arm} for arm in arms}
    for against, arm in combinations(sorted(arms, key=_ORDER.index), 2):
        both = means[arm].keys() & means[against].keys()
        columns = [{key: means[name][key] for key in both} for name in (arm, against)]
        pooled, _ = _mean(_DIFFERENCE, columns, topics, **options)
        yield RatingDifference(arm=arm, against=against, difference=pooled)


def _mean(
    statistic: Statistic,
    columns: Sequence[Mapping[Key, float]],
    topics: Sequence[str],
    *,
    level: float,
    resamples: int,
    seed: int,
) -> tuple[Estimate | None, dict[str, Estimate]]:
    keys = sorted(columns[0], key=lambda key: (topics.index(key[0]), key[1]))
    if not keys:
        return None, {}
    bootstrap = Bootstrap([topic for topic, _ in keys], resamples, level, seed)
    values = [Column(np.asarray([[column[key] for key in keys]])) for column in columns]
    found = bootstrap.estimate(statistic, values)
    return (found.pooled, found.by_topic) if found else (None, {})


def _estimate(value: float, drawn: Floats, level: float, n: int) -> Estimate:
    """With a percentile interval, if enough resamples have a number."""
    known = drawn[np.isfinite(drawn)]
    if n < _FEWEST_ITEMS or len(known) < max(_LEAST_RESAMPLES, len(drawn) // 2):
        return Estimate(value=value, n=n)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=float(low), high=float(high), n=n)
