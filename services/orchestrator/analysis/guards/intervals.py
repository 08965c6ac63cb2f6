"""Intervals of the guards' numbers, and what a number and its threshold make of a guard."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from services.orchestrator.analysis.guards.context import Floats, Material
from services.orchestrator.analysis.results import Estimate, Guard, GuardStatus, Measure
from services.orchestrator.analysis.statistics.bootstrap import Column, Statistic

TRAINED: Final = "tuned"
"""Name of the training whose seeds the tuned arms' columns are."""

_PLAIN: Final = Statistic(lambda mean: mean, lambda mean: (1.0,))
_SHARE: Final = Statistic(lambda mean: mean, lambda mean: (1.0,), 0.0, 1.0)
_RATIO: Final = Statistic(
    lambda top, bottom: top / bottom, lambda top, bottom: (1 / bottom, -top / bottom**2)
)
_ABOVE_CHANCE: Final = Statistic(
    lambda tuned, against, chance: (tuned - chance) / (against - chance),
    lambda tuned, against, chance: (
        1 / (against - chance),
        -(tuned - chance) / (against - chance) ** 2,
        (tuned - against) / (against - chance) ** 2,
    ),
)
_ORDER: Final[tuple[GuardStatus, ...]] = ("fail", "warn", "not_measured", "pass")


def pooled(material: Material, values: Floats, trained: str = "") -> Estimate:
    """Mean of topic means of an (inputs, seeds) table with the interval of the paired, clustered bootstrap.

    An entry that is NaN counts as its input's mean; an input without any entry is left out. ``trained``
    names the training whose seeds the columns are, "" for none.
    """
    return combined(material, _PLAIN, [(values, trained)])


def above_chance(material: Material, tuned: Floats, against: Floats, chance: Floats) -> Estimate:
    """(tuned - chance) / (against - chance) of the pooled means of (inputs, seeds) tables."""
    return combined(material, _ABOVE_CHANCE, [(tuned, TRAINED), (_by_input(against), ""), (chance, "")])


def ratio_of(material: Material, tuned: Floats, against: Floats) -> Estimate:
    """Ratio of the pooled means of two (inputs, seeds) tables; only the first was trained."""
    return combined(material, _RATIO, [(tuned, TRAINED), (_by_input(against), "")])


def combined(material: Material, statistic: Statistic, tables: Sequence[tuple[Floats, str]]) -> Estimate:
    """A statistic of tables on the inputs that all of them have. ValueError if there is none."""
    held = np.all([~np.all(np.isnan(table), axis=1) for table, _ in tables], axis=0)
    if not held.any():
        raise ValueError("no test input has a value to pool")
    columns = [Column(_filled(table[held]).T, trained) for table, trained in tables]
    bootstrap = material.bootstrap(tuple(int(topic) for topic in material.topic_of[held]))
    found = bootstrap.estimate(statistic, columns)
    if found is None:
        raise ValueError("the statistic has no finite value")
    return found.pooled


def by_prompt(material: Material, numerator: Floats, denominator: Floats) -> Estimate:
    """Mean over mean with its interval; both of shape (prompts,), which are drawn anew together."""
    found = material.bootstrap((0,) * len(numerator)).estimate(
        _RATIO, [Column(numerator[None]), Column(denominator[None])]
    )
    if found is None:
        raise ValueError("the ratio has no finite value")
    return found.pooled


def paired(material: Material, values: Floats) -> Estimate:
    """Mean of differences by item, shape (training seeds, items), with its interval."""
    found = material.bootstrap((0,) * values.shape[1]).estimate(_PLAIN, [Column(values, TRAINED)])
    if found is None:
        raise ValueError("the mean has no finite value")
    return found.pooled


def share_of(material: Material, values: Floats, strata: Sequence[int]) -> Estimate:
    """Mean of the strata's means of 0 or 1, shape (n,), NaN left out; the interval lies within [0, 1]."""
    held = np.flatnonzero(~np.isnan(values))
    places = tuple(int(strata[place]) for place in held)
    found = material.bootstrap(places).estimate(_SHARE, [Column(values[held][None])])
    if found is None:
        raise ValueError("no value to take a share of")
    return found.pooled


def mean_of(material: Material, values: Floats) -> float:
    """Mean of topic means of an (inputs, seeds) table."""
    held = ~np.all(np.isnan(values), axis=1)
    means, topics = _by_input(values[held])[:, 0], material.topic_of[held]
    return float(np.mean([means[topics == topic].mean() for topic in np.unique(topics)]))


def _by_input(values: Floats) -> Floats:
    known = ~np.isnan(values)
    count = known.sum(axis=1, keepdims=True)
    total = np.where(known, values, 0).sum(axis=1, keepdims=True)
    return np.asarray(np.where(count, total / np.maximum(count, 1), np.nan), dtype=np.float64)


def _filled(values: Floats) -> Floats:
    return np.asarray(np.where(np.isnan(values), _by_input(values), values), dtype=np.float64)


def measure(
    name: str, title: str, estimate: Estimate | float | None, threshold: float | None = None, **more: str
) -> Measure:
    """A measure out of an estimate or a plain number; ``more``: better, note."""
    if not isinstance(estimate, Estimate):
        return Measure.model_validate(
            {"name": name, "title": title, "value": estimate, "threshold": threshold, **more}
        )
    ends = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return Measure.model_validate({"name": name, "title": title, "threshold": threshold, **ends, **more})


def status_of(item: Measure, strict: bool = False) -> GuardStatus:
    """pass within the threshold, fail where the whole interval lies beyond it, warn between.

    ``strict``: pass only where the whole interval lies within (non-inferiority). A measure without a
    threshold or value passes: it is only told.
    """
    if item.threshold is None or item.value is None:
        return "pass"
    sign = 1.0 if item.better == "higher" else -1.0
    value, ends = sign * item.value, [sign * end for end in (item.low, item.high) if end is not None]
    limit = sign * item.threshold
    if max(ends, default=value) < limit:
        return "fail"
    return "pass" if (min(ends, default=value) if strict else value) >= limit else "warn"


def worst(statuses: Iterable[GuardStatus]) -> GuardStatus:
    """The worst of the statuses; pass if there are none."""
    return min(statuses, key=_ORDER.index, default="pass")


def not_measured(id_: str, title: str, question: str, why: str, measures: Iterable[Measure] = ()) -> Guard:
    """A guard that says why it has no outcome."""
    return Guard(
        id=id_,
        title=title,
        question=question,
        status="not_measured",
        summary=f"Not measured: {why}.",
        measures=tuple(measures),
    )


def percent(value: float) -> str:
    """A share as people read it."""
    # No minus sign before a zero.
    return f"{round(100 * value) + 0:.0f} %"
