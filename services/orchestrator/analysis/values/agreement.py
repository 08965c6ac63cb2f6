"""How well answers agree with held-out labels: accuracy, balanced accuracy, Cohen's kappa, confusion.

Intervals are percentile bootstraps over prompts: replies to one prompt resemble each other, so prompts are
the independent units. A value with too few labels gets no numbers at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.results import Estimate
from services.orchestrator.analysis.values.dimensions import ANSWERS, LABELS, Floats
from services.orchestrator.analysis.values.results import ValueAgreement

_ORDER = tuple(LABELS[answer] for answer in ANSWERS)
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Labels that a value needs of each of the three kinds before it is spoken of.

    30 training labels are the least from which a direction among hundreds of numbers can be told at all;
    with 10 held-out labels of a kind its recall is known to about +-0.3, with 5 it would be +-0.44.
    """

    train: int = 30
    held_out: int = 10


def too_few(train: Mapping[str, int] | None, held_out: Mapping[str, int], thresholds: Thresholds) -> str:
    """Why a value may not be spoken of, or "". ``train`` is None for a judge, which learns nothing."""
    short = []
    for where, counts, least in (
        ("training", train, thresholds.train),
        ("held-out", held_out, thresholds.held_out),
    ):
        for answer in ANSWERS if counts is not None else ():
            if counts is not None and counts.get(answer, 0) < least:
                short.append(f"{counts.get(answer, 0)} {where} labels '{answer}' (at least {least} needed)")
    return "; ".join(short)


def label_counts(labels: Sequence[int] | NDArray[np.int64]) -> dict[str, int]:
    """Number of labels of each kind."""
    given = np.asarray(labels, dtype=np.int64)
    return {answer: int(np.sum(given == LABELS[answer])) for answer in ANSWERS}


def agreement(
    value: str,
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
    groups: Sequence[str],
    *,
    train: Mapping[str, int] | None,
    thresholds: Thresholds,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> ValueAgreement:
    """Agreement of answers with labels (both +1, 0, -1; shape (n,)); ``groups[i]`` is row i's prompt."""
    counts = label_counts(labels)
    shared: dict[str, Any] = {
        "value": value, "train_labels": dict(train or {}), "labels": counts, "groups": len(set(groups)),
    }  # fmt: skip
    if reason := too_few(train, counts, thresholds):
        return ValueAgreement(status="too_few_labels", reason=reason, **shared)
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, confusion_matrix

    confusion = confusion_matrix(labels, answers, labels=list(_ORDER))
    drawn = _resampled(labels, answers, groups, seed, resamples)
    n = len(labels)
    # The same answer for every row, and one label alone: kappa is 0 by what it means.
    kappa = float(np.nan_to_num(cohen_kappa_score(labels, answers, labels=list(_ORDER))))
    made = {
        "accuracy": _estimate(float(accuracy_score(labels, answers)), _accuracy(drawn), level, n),
        "balanced_accuracy": _estimate(
            float(balanced_accuracy_score(labels, answers)), _balanced(drawn), level, n
        ),
        "kappa": _estimate(kappa, kappas(drawn), level, n),
    }
    low = made["kappa"].low
    return ValueAgreement(
        status="measured",
        majority=max(counts.values()) / n,
        confusion=tuple((int(row[0]), int(row[1]), int(row[2])) for row in confusion),
        above_chance=low is not None and low > 0,
        **shared,
        **made,
    )


def kappas(tables: Floats) -> Floats:
    """Cohen's kappa of confusion tables, shape (b,) from (b, 3, 3); NaN where chance agreement is 1."""
    total = tables.sum(axis=(1, 2))
    seen = np.trace(tables, axis1=1, axis2=2) / total
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / total**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(
            np.where(expected < 1, (seen - expected) / (1 - expected), np.nan), dtype=np.float64
        )


def _accuracy(tables: Floats) -> Floats:
    return np.asarray(np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2)), dtype=np.float64)


def _balanced(tables: Floats) -> Floats:
    """Mean recall over the labels that a table has."""
    rows = tables.sum(axis=2)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    recall = np.divide(hits, rows, out=np.zeros_like(rows), where=rows > 0)
    return np.asarray(recall.sum(axis=1) / (rows > 0).sum(axis=1), dtype=np.float64)


def _resampled(
    labels: NDArray[np.int64], answers: NDArray[np.int64], groups: Sequence[str], seed: int, resamples: int
) -> Floats:
    """Confusion tables of resampled prompts, shape (resamples, 3, 3)."""
    place = {label: number for number, label in enumerate(_ORDER)}
    number = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    cells = np.zeros((len(number), 9))
    for label, answer, group in zip(labels, answers, groups, strict=True):
        cells[number[group], 3 * place[int(label)] + place[int(answer)]] += 1
    random = np.random.default_rng(seed)
    parts = []
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        times = random.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=size)
        parts.append(times @ cells)
    return np.concatenate(parts).reshape(resamples, 3, 3)


def _estimate(value: float, drawn: Floats, level: float, n: int) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if len(known) < 100:
        return Estimate(value=value, n=n)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, low=float(low), high=float(high), n=n)
