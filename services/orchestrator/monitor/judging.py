"""From a measurement's texts to what it found. Pure but for the embedding, which the caller has done."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.domain.difference import unit_rows
from services.orchestrator.monitor.drift import DriftTest, Texts, TopicDrift, test_drift
from services.orchestrator.monitor.records import Draw

Rows = Mapping[str, NDArray[np.float32]]
"""Embedding by text."""

Targets = Mapping[tuple[str, int], tuple[str, ...]]
"""Counterparts of each (topic, index)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a sample is suspicious."""

    significance: float
    min_effect: float
    permutations: int


def texts_of(draws: Sequence[Draw], targets: Targets, rows: Rows) -> dict[str, Texts]:
    """Usable answers by topic; their value difference is the mean over their counterparts."""
    by_topic: dict[str, list[Draw]] = defaultdict(list)
    for draw in draws:
        if draw.principle and (draw.topic_id, draw.index) in targets:
            by_topic[draw.topic_id].append(draw)
    found = {}
    for topic, answers in by_topic.items():
        embedded = unit_rows(np.stack([rows[answer.principle] for answer in answers]))
        aims = {index: _aim(targets[topic, index], rows) for index in {answer.index for answer in answers}}
        wanted = np.stack([aims[answer.index] for answer in answers])
        differences = np.clip(1.0 - np.einsum("ij,ij->i", embedded, wanted), 0.0, 2.0)
        prompts = np.array([answer.index for answer in answers], dtype=np.int64)
        found[topic] = Texts(embedded.astype(np.float32), differences, prompts)
    return found


def compare(
    baseline: Mapping[str, Texts], now: Mapping[str, Texts], limits: Limits, seed: int
) -> tuple[DriftTest, bool]:
    """The period's test, and whether it is suspicious. ValueError if no topic can be compared."""
    found = test_drift(baseline, now, permutations=limits.permutations, seed=seed)
    return found, found.p_value <= limits.significance


def large(test: DriftTest, limits: Limits) -> bool:
    """Whether what moved has moved far enough."""
    moved = [one for one in (*test.topics, test.pooled) if one.p_value <= limits.significance]
    return any(max(abs(one.effect), one.energy) >= limits.min_effect for one in moved)


def moved(test: DriftTest, limits: Limits) -> list[str]:
    """Topics that moved, the most first."""
    return [one.topic for one in test.topics if one.p_value <= limits.significance]


def by_topic(test: DriftTest, now: Mapping[str, Texts]) -> dict[str, dict[str, Any]]:
    """What each topic showed, JSON-able."""
    return {one.topic: _topic(one, now[one.topic]) for one in sorted(test.topics, key=lambda one: one.topic)}


def baseline_by_topic(texts: Mapping[str, Texts]) -> dict[str, dict[str, Any]]:
    """The same of a baseline, which is compared with nothing."""
    found = {}
    for topic, of_topic in sorted(texts.items()):
        mean = float(of_topic.differences.mean())
        count = len(of_topic.differences)
        found[topic] = {"value": mean, "baseline": mean, "energy": 0.0, "p_value": 1.0, "texts": count}
    return found


def adapters_of(draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """Who answered, the most first; JSON-able."""
    counts = Counter((draw.adapter, draw.adapter_sha256) for draw in draws if draw.principle)
    return [
        {"name": name, "sha256": sha256, "texts": texts} for (name, sha256), texts in counts.most_common()
    ]


def strangers(draws: Sequence[Draw], expected: Collection[str]) -> list[str]:
    """Adapters that answered and are not expected, as words; ``expected`` holds sha256, "" for the base."""
    found = {
        f"{draw.adapter or 'the base model'}{f' ({draw.adapter_sha256[:12]}…)' if draw.adapter else ''}"
        for draw in draws
        if draw.principle and draw.adapter_sha256 not in expected
    }
    return sorted(found)


def _aim(texts: tuple[str, ...], rows: Rows) -> NDArray[np.float64]:
    # 1 - cos is linear in the unit row: the mean over counterparts is that with their mean.
    return np.asarray(unit_rows(np.stack([rows[text] for text in texts])).mean(axis=0))


def _topic(one: TopicDrift, texts: Texts) -> dict[str, Any]:
    return {
        "value": one.now_mean,
        "baseline": one.baseline_mean,
        "energy": one.energy,
        "p_value": one.p_value,
        "texts": len(texts.differences),
    }
