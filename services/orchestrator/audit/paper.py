"""The paper's own figures, computed again from the texts that a run kept and their embeddings.

Value difference: 1 - cosine of a text and its aligned counterpart (equation 1); topic means, ranks, weights,
iterations, reductions and the plane follow the paper's section 3.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.evidence import Evidence, Key
from services.orchestrator.domain.convergence import best_iteration, relative_improvement, stop_reason
from services.orchestrator.domain.difference import (
    constant_differences,
    medoid,
    most_moved,
    overall_mean,
    rank_topics,
    reduction,
    topic_means,
    value_differences,
)
from services.orchestrator.domain.split import MIN_PAIRS
from services.orchestrator.domain.weights import topic_weights
from services.orchestrator.report.projection import project
from services.orchestrator.report.schema import PointKind

_FIGURES = ("base_p3", "after", "constant")


def paper_numbers(evidence: Evidence) -> dict[str, Any]:
    """topics, overall, constant_sentence, iterations, best_iteration, stop_reason, projection and moved, in
    report.json's shape, without what only the record can tell. ValueError names a text without a row."""
    return _Paper(evidence).numbers()


class _Paper:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.vectors = evidence.vectors["primary"]
        self.originals = self.sample("original")
        self.targets = evidence.targets()
        self.pairs = [
            (topic_id, index)
            for topic_id in evidence.topic_ids
            for index in sorted(index for topic, index in self.originals if topic == topic_id)
            if (topic_id, index) in self.targets
        ]
        self.before = dict(zip(self.pairs, self.differences(self.originals, self.pairs), strict=True))
        self.initial = self.means(self.before, self.pairs)

    def sample(self, arm: str) -> dict[Key, str]:
        """Sample 0 of an arm by input."""
        rows = self.evidence.outputs
        return {output.key: output.text for output in rows if output.arm == arm and output.sample == 0}

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings, shape (n, dimension)."""
        for text in texts:
            if text not in self.vectors:
                raise ValueError(f"evidence/vectors/primary.jsonl: no row for the text {text[:80]!r}")
        return self.vectors.of(texts)

    def differences(self, texts: Mapping[Key, str], keys: Sequence[Key]) -> NDArray[np.float64]:
        """Value difference of each input's text to its target."""
        if not keys:
            return np.zeros(0)
        return value_differences(
            self.rows([texts[key] for key in keys]), self.rows([self.targets[key] for key in keys])
        )

    def means(self, differences: Mapping[Key, float], keys: Sequence[Key]) -> dict[str, float]:
        return topic_means([differences[key] for key in keys], [key[0] for key in keys])

    def arm_means(self, arm: str, part: str) -> tuple[list[Key], NDArray[np.float64], dict[str, float]]:
        """Inputs of a part that the arm has a text for, their differences and the topics' means."""
        texts = self.sample(arm)
        keys = [key for key in self.part(part) if key in texts]
        differ = self.differences(texts, keys)
        return keys, differ, topic_means(differ, [key[0] for key in keys])

    def part(self, part: str) -> list[Key]:
        """The pairs of a part, in the study's order of topics and then by index."""
        members = set(self.evidence.keys(part))
        return [key for key in self.pairs if key in members]

    def numbers(self) -> dict[str, Any]:
        iterations, series = self.iterations()
        best = best_iteration(series) if len(series) > 1 else None
        topics = self.topics(best)
        found: dict[str, Any] = {
            "topics": topics,
            "overall": _overall(topics),
            "constant_sentence": self.constant()[0] if best else None,
            "iterations": iterations,
            "best_iteration": best,
            "projection": {"points": self.points(best)},
            "moved": self.moved(best) if best else [],
        }
        stop = self.evidence.study["stop"]
        if best:
            # What a run had spent is not in its texts: a budget's word is taken where no rule speaks.
            said = stop_reason(series, stop["max_iterations"], stop["min_relative_improvement"])
            told = self.evidence.facts.get("stop_reason") == "budget" and has_budget(self.evidence.study)
            found["stop_reason"] = said or ("budget" if told else None)
        else:
            measure_only = self.evidence.study["measure_only"]
            found["stop_reason"] = "measure_only" if measure_only else self.why_only_measured()
        return found

    def why_only_measured(self) -> str:
        """Too few pairs, or a budget without training: taken as it is told where there are enough pairs."""
        told = self.evidence.facts.get("stop_reason") == "budget_before_training"
        told = told and has_budget(self.evidence.study)
        enough = all(
            sum(key[0] == topic for key in self.pairs) >= MIN_PAIRS for topic in self.evidence.topic_ids
        )
        return "budget_before_training" if told and enough else "too_few_pairs"

    def iterations(self) -> tuple[list[dict[str, Any]], list[float]]:
        """Iterations by number, and their validation means; none in a run that only measured."""
        arms = {arm.name for arm in self.evidence.arms}
        count = 0
        while f"realigned-i{count + 1}" in arms:
            count += 1
        if not count:
            return [], []
        weights = self.weights(self.initial, 0)
        means = self.means(self.before, self.part("validation"))
        series = [overall_mean(means)]
        found: list[dict[str, Any]] = [_iteration(0, {}, means, series[0], None)]
        for number in range(1, count + 1):
            _, _, means = self.arm_means(f"realigned-i{number}", "validation")
            series.append(overall_mean(means))
            found.append(
                _iteration(number, weights, means, series[-1], relative_improvement(series[-2], series[-1]))
            )
            weights = self.weights(means, number)
        return found, series

    def weights(self, means: Mapping[str, float], iteration: int) -> dict[str, float]:
        """Loss weights from topic means; with the study's share of the recorded distance in value space."""
        settings = self.evidence.study["weights"]
        weights = topic_weights(means, settings["normalization"], settings["floor"])
        share = float((self.evidence.study.get("values") or {}).get("weight", 0))
        if not share:
            return weights
        probe = self.evidence.probes.get("values") or self.evidence.facts
        recorded = {entry["iteration"]: entry["distances"] for entry in probe.get("weighings", ())}
        if iteration not in recorded:
            raise ValueError(f"evidence: no distance in value space is recorded for iteration {iteration}")
        distances = recorded[iteration]
        by_value = topic_weights(
            {topic: distances[topic] for topic in means}, settings["normalization"], settings["floor"]
        )
        return {topic: (1 - share) * weight + share * by_value[topic] for topic, weight in weights.items()}

    def topics(self, best: int | None) -> list[dict[str, Any]]:
        weights = self.weights(self.initial, 0)
        ranks = {topic: place for place, topic in enumerate(rank_topics(self.initial), 1)}
        figures: dict[str, Mapping[str, float]] = {"before": self.initial}
        if best:
            figures["before"] = self.means(self.before, self.part("test"))
            figures["base_p3"] = self.arm_means("base_p3", "test")[2]
            figures["after"] = self.arm_means(f"realigned-i{best}", "test")[2]
            figures["constant"] = self.constant()[1]
        found = []
        for topic in self.evidence.study["topics"]:
            id_ = topic["id"]
            entry: dict[str, Any] = {"id": id_, "title": topic["title"]}
            for part in ("train", "validation", "test"):
                entry[f"n_{part}"] = len(self.evidence.split[part].get(id_, ())) if best else 0
            entry |= {"rank": ranks[id_], "initial_mean": self.initial[id_], "initial_weight": weights[id_]}
            before = figures["before"][id_]
            entry["before"] = before
            entry |= {name: figures.get(name, {}).get(id_) for name in _FIGURES}
            after = entry["after"]
            entry["reduction"] = None if after is None else reduction(before, after)
            found.append(entry)
        return found

    def constant(self) -> tuple[str, dict[str, float]]:
        """The train split's central target, and its topic means on the test split."""
        train = [self.targets[key] for key in self.part("train")]
        test = self.part("test")
        rows = self.rows(train)
        chosen = medoid(rows)
        differ = constant_differences(rows[chosen], self.rows([self.targets[key] for key in test]))
        return train[chosen], topic_means(differ, [key[0] for key in test])

    def points(self, best: int | None) -> list[dict[str, Any]]:
        """The plane: over the test pairs, or over all pairs in a run that only measured."""
        keys = self.part("test") if best else self.pairs
        means: dict[str, dict[PointKind, NDArray[np.floating]]] = {}
        kinds: list[tuple[PointKind, Mapping[Key, str]]] = [
            ("original", self.originals),
            ("reference", self.targets),
        ]
        if best:
            kinds.append(("realigned", self.sample(f"realigned-i{best}")))
        for kind, texts in kinds:
            for topic_id in dict.fromkeys(key[0] for key in keys):
                mine = [texts[key] for key in keys if key[0] == topic_id and key in texts]
                if mine:
                    means.setdefault(topic_id, {})[kind] = np.mean(list(self.rows(mine)), axis=0)
        return [point.model_dump(mode="json") for point in project(means)]

    def moved(self, best: int) -> list[dict[str, Any]]:
        """The test principles whose difference fell most."""
        arm = f"realigned-i{best}"
        texts = self.sample(arm)
        keys, after, _ = self.arm_means(arm, "test")
        before = [self.before[key] for key in keys]
        return [
            {
                "topic": keys[place][0],
                "original": self.originals[keys[place]],
                "aligned": self.targets[keys[place]],
                "realigned": texts[keys[place]],
                "before": before[place],
                "after": float(after[place]),
            }
            for place in most_moved(before, after)
        ]


def _iteration(
    number: int,
    weights: Mapping[str, float],
    means: Mapping[str, float],
    mean: float,
    improvement: float | None,
) -> dict[str, Any]:
    return {
        "iteration": number,
        "weights": dict(weights),
        "validation_means": dict(means),
        "validation_mean": mean,
        "relative_improvement": improvement,
    }


def _overall(topics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"before": overall_mean({topic["id"]: topic["before"] for topic in topics})}
    for name in _FIGURES:
        values = {topic["id"]: topic[name] for topic in topics}
        # A mean over other topics than "before" speaks of would mislead.
        found[name] = None if None in values.values() else overall_mean(values)
    after = found["after"]
    found["reduction"] = None if after is None else reduction(found["before"], after)
    return found


def has_budget(study: Mapping[str, Any]) -> bool:
    """Whether a study, as evidence holds it, has any limit: only such a run can be ended by one."""
    return any(limit is not None for limit in (study.get("budget") or {}).values())
