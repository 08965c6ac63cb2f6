"""Stage one of a human review: which texts pass the cosine threshold, and which of them are frozen as items.

Inputs are tried in one random order a topic, the same for every arm, so that most items of one arm have their
counterpart in the other. Numbers are dealt out at random over all items: a number tells nothing of the arm.
"""

import zlib
from collections.abc import Collection, Sequence

import numpy as np

from services.orchestrator.analysis.evidence import ArmKind, Evidence, Key
from services.orchestrator.analysis.human_review import FrozenItem, StageOne, StageOneTopic
from services.orchestrator.domain.difference import value_differences


def freeze(
    evidence: Evidence, *, arms: Sequence[str], threshold: float, items_per_topic: int, seed: int
) -> tuple[tuple[FrozenItem, ...], tuple[StageOne, ...]]:
    """The items in order of their numbers, and stage one by arm.

    Args:
        arms: kinds of arms; of each the first training seed's first sample on the test inputs.
        threshold: least cosine similarity, in [-1, 1].
        items_per_topic: at most so many items of each topic and arm.

    ValueError for a kind that the evidence has no text of.
    """
    goals = evidence.targets()
    metrics = {arm: _metrics(evidence, arm, goals) for arm in arms}
    chosen: list[tuple[str, Key]] = []
    stage = []
    for arm in arms:
        passed = {key for key, (_, metric) in metrics[arm].items() if 1.0 - metric >= threshold}
        stage.append(_stage_one(evidence, arm, metrics[arm].keys(), passed))
        for topic in evidence.topic_ids:
            mine = [key for key in _order(evidence, topic, seed) if key in passed]
            chosen += [(arm, key) for key in mine[:items_per_topic]]
    places = _random(seed, "numbers").permutation(len(chosen))
    items = [
        FrozenItem(
            number=int(place) + 1,
            arm=arm,
            topic_id=key[0],
            index=key[1],
            text=metrics[arm][key][0],
            reference=goals[key],
            metric=metrics[arm][key][1],
        )
        for place, (arm, key) in zip(places, chosen, strict=True)
    ]
    return tuple(sorted(items, key=lambda item: item.number)), tuple(stage)


def arms_with_texts(evidence: Evidence) -> tuple[str, ...]:
    """Kinds of arms that have a text on a test input, by the order of ``ArmKind``."""
    test = set(evidence.keys("test"))
    there = {output.arm for output in evidence.outputs if output.key in test}
    return tuple(kind.value for kind in ArmKind if any(arm.name in there for arm in evidence.of_kind(kind)))


def _metrics(evidence: Evidence, arm: str, goals: dict[Key, str]) -> dict[Key, tuple[str, float]]:
    """Text and value difference by test input."""
    members = evidence.of_kind(ArmKind(arm)) if arm in set(ArmKind) else ()
    texts = evidence.texts(members[0].name) if members else {}
    keys = [key for key in evidence.keys("test") if key in texts and key in goals]
    if not keys:
        known = ", ".join(arms_with_texts(evidence))
        raise ValueError(
            f"the run has no texts of an arm {arm[:80]!r} on its test inputs; there are: {known}"
        )
    said = [texts[key][0] for key in keys]
    vectors = evidence.vectors["primary"]
    found = value_differences(vectors.of(said), vectors.of([goals[key] for key in keys]))
    return {key: (text, float(metric)) for key, text, metric in zip(keys, said, found, strict=True)}


def _stage_one(evidence: Evidence, arm: str, every: Collection[Key], passed: set[Key]) -> StageOne:
    by_topic = {
        topic: StageOneTopic(
            passed=sum(key[0] == topic for key in passed), of=sum(key[0] == topic for key in every)
        )
        for topic in evidence.topic_ids
    }
    rate = len(passed) / len(every) if every else None
    return StageOne(arm=arm, passed=len(passed), of=len(every), rate=rate, by_topic=by_topic)


def _order(evidence: Evidence, topic: str, seed: int) -> list[Key]:
    keys = [key for key in evidence.keys("test") if key[0] == topic]
    return [keys[place] for place in _random(seed, f"inputs/{topic}").permutation(len(keys))]


def _random(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(name.encode("utf-8"))))
