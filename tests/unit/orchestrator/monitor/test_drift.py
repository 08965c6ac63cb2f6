"""The period's test: its level under "nothing changed", its power, and what it says of topics."""

import numpy as np
import pytest

from services.orchestrator.monitor.drift import Texts, test_drift

PROMPTS, BASELINE_DRAWS, DIMENSION = 8, 4, 16
TOPICS = ("fairness", "privacy", "safety")


class _Model:
    """Answers scatter around a direction of their prompt's; ``moved`` turns those of a topic away."""

    def __init__(self, random: np.random.Generator, spread: float = 0.6) -> None:
        self._random = random
        self._spread = spread
        self._centres = {topic: random.normal(size=(PROMPTS, DIMENSION)) for topic in TOPICS}
        self._targets = {topic: random.normal(size=(PROMPTS, DIMENSION)) for topic in TOPICS}

    def say(self, draws: int, moved: dict[str, float] | None = None) -> dict[str, Texts]:
        found = {}
        for topic in TOPICS:
            share = (moved or {}).get(topic, 0.0)
            prompts = np.repeat(np.arange(PROMPTS), draws)
            centres = (1 - share) * self._centres[topic] + share * self._targets[topic]
            rows = centres[prompts] + self._spread * self._random.normal(size=(len(prompts), DIMENSION))
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            targets = self._targets[topic][prompts]
            targets = targets / np.linalg.norm(targets, axis=1, keepdims=True)
            differences = 1 - np.einsum("ij,ij->i", rows, targets)
            found[topic] = Texts(rows.astype(np.float32), differences, prompts)
        return found


def test_two_hundred_unchanged_periods_raise_at_most_the_stated_rate() -> None:
    """Twenty baselines of ten periods, each suspicious one confirmed by a fresh sample, at 0.01."""
    random = np.random.default_rng(20261126)
    suspicious = alarms = 0
    for number in range(200):
        if number % 10 == 0:
            model = _Model(random)
            baseline = model.say(BASELINE_DRAWS)
        first = test_drift(baseline, model.say(1), permutations=299, seed=number)
        if first.p_value <= 0.01:
            suspicious += 1
            second = test_drift(baseline, model.say(1), permutations=299, seed=1000 + number)
            alarms += second.p_value <= 0.01
    # 200 periods at 0.01 give 2 in the mean; 7 or more have a probability of 0.4 %.
    assert suspicious <= 6
    assert alarms <= 2, "a period without any change alarms with at most 0.01"


def test_level_of_one_period_is_that_of_the_test() -> None:
    random = np.random.default_rng(5)
    found = []
    for number in range(300):
        model = _Model(random)
        found.append(
            test_drift(model.say(BASELINE_DRAWS), model.say(1), permutations=199, seed=number).p_value
        )
    share = float(np.mean(np.array(found) <= 0.1))
    # 0.1 ± 3 standard errors of 300.
    assert 0.048 <= share <= 0.152


def test_one_topic_that_moved_is_found_and_named() -> None:
    random = np.random.default_rng(1)
    model = _Model(random)
    found = test_drift(model.say(BASELINE_DRAWS), model.say(1, {"privacy": 0.6}), permutations=499, seed=1)
    assert found.p_value <= 0.01
    assert found.topics[0].topic == "privacy"
    assert found.topics[0].effect < 0, "it moved towards its targets"
    assert {one.topic for one in found.topics if one.p_value <= 0.01} == {"privacy"}


def test_equal_texts_on_both_sides_give_p_of_one() -> None:
    rows = np.tile(np.eye(4, dtype=np.float32)[0], (10, 1))
    same = {"privacy": Texts(rows, np.full(10, 0.5), np.arange(10) % 5)}
    assert test_drift(same, same, permutations=199, seed=0).p_value == 1.0


def test_topic_without_two_texts_is_left_out_and_named() -> None:
    model = _Model(np.random.default_rng(2))
    now = model.say(1)
    one = now["safety"]
    now["safety"] = Texts(one.embeddings[:1], one.differences[:1], one.prompts[:1])
    found = test_drift(model.say(BASELINE_DRAWS), now, permutations=199, seed=0)
    assert found.left_out == ("safety",)
    with pytest.raises(ValueError, match="no topic"):
        test_drift({}, now, permutations=199, seed=0)
