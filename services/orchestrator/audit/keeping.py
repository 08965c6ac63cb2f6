"""Which draw each input keeps, and how many draws failed why: read again from the stored completions.

Written from the rule and not shared with the loop, so that one checks the other. The rule: a sample has
``max_draws`` draws, its first usable one is kept; the original arm passes over near duplicates of what its
topic keeps already, and an input whose every draw repeats another keeps the last usable one.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.orchestrator.analysis.evidence import Key
from services.orchestrator.audit.prompts import FROM_RULER
from services.orchestrator.audit.record import Completion
from services.orchestrator.domain.principles import NearDuplicates, Outcome, near_duplicate_rate

Place: TypeAlias = tuple[str, int, int]
"""(topic id, index, sample)."""

_UNLIKE_EACH_OTHER = ("original", "own")


@dataclass(frozen=True, slots=True)
class Kept:
    """What one arm keeps: the draws of every place, and which of them it keeps, if any."""

    drawn: Mapping[Place, Mapping[int, Completion]]
    chosen: Mapping[Place, int]
    similarity: float | None

    def texts(self) -> dict[Place, str]:
        """Kept texts by place."""
        return {place: self.drawn[place][draw].principle for place, draw in sorted(self.chosen.items())}

    def sample(self, number: int) -> dict[Key, str]:
        """Texts of one sample by input."""
        return {
            (topic, index): text for (topic, index, sample), text in self.texts().items() if sample == number
        }

    def counts(self, places: Collection[Place] | None = None) -> dict[str, Any]:
        """What became of the draws of these places (all of them), as report.json has it."""
        asked = [place for place in self.drawn if places is None or place in places]
        failed: Counter[str] = Counter()
        for place in asked:
            for draw, completion in self.drawn[place].items():
                if draw != self.chosen.get(place):
                    failed["near_duplicate" if completion.outcome == Outcome.OK else completion.outcome] += 1
        return {
            "requested": len(asked),
            "usable": sum(place in self.chosen for place in asked),
            "redrawn": sum(len(self.drawn[place]) - 1 for place in asked),
            "failed_by_reason": dict(failed),
            "near_duplicate_rate": self.near_duplicate_rate(),
            "copied_original": None,
        }

    def near_duplicate_rate(self) -> float | None:
        """The topics' rates, weighed by how many principles each has; None where it is not asked."""
        if self.similarity is None or not self.chosen:
            return None
        by_topic: dict[str, list[str]] = {}
        for (topic_id, _, _), text in self.texts().items():
            by_topic.setdefault(topic_id, []).append(text)
        rates = {topic: near_duplicate_rate(texts, self.similarity) for topic, texts in by_topic.items()}
        return sum(rates[topic] * len(texts) for topic, texts in by_topic.items()) / len(self.chosen)


def keep(arm: str, completions: Sequence[Completion], generation: Mapping[str, Any]) -> Kept:
    """What an arm keeps of its completions; ``generation`` is the study's section of that name."""
    most, similarity = int(generation["max_draws"]), float(generation["near_duplicate_similarity"])
    drawn: dict[Place, dict[int, Completion]] = {}
    for completion in completions:
        sample, draw = divmod(completion.draw, most)
        drawn.setdefault((completion.topic_id, completion.index, sample), {})[draw] = completion
    by_ruler = all(completion.finish_reason == FROM_RULER for completion in completions)
    unlike = arm in _UNLIKE_EACH_OTHER and not by_ruler
    chosen = _choose(drawn, most, similarity, unlike and generation["duplicates"] == "redraw")
    return Kept(drawn, chosen, similarity if unlike else None)


def _choose(
    drawn: Mapping[Place, Mapping[int, Completion]], most: int, similarity: float, redraw: bool
) -> dict[Place, int]:
    seen = {place[0]: NearDuplicates(similarity) for place in drawn}
    chosen: dict[Place, int] = {}
    for draw in range(most):
        for place in sorted(drawn.keys() - chosen.keys()):
            completion = drawn[place].get(draw)
            if completion is None or completion.outcome != Outcome.OK:
                continue
            if redraw and seen[place[0]].matches(completion.principle):
                continue
            chosen[place] = draw
            if redraw:
                seen[place[0]].add(completion.principle)
    for place in drawn.keys() - chosen.keys():
        usable = [draw for draw, completion in drawn[place].items() if completion.outcome == Outcome.OK]
        if usable:
            chosen[place] = max(usable)
    return chosen
