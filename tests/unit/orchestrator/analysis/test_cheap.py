"""The constant sentence and the copied target, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from services.orchestrator.analysis.cheap import cheap_arms
from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Output
from tests.evidence import make_evidence, vectors_of


def at(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


ANGLES = {
    "o-train-0": 0.0,
    "o-train-1": 40.0,
    "o-train-2": 80.0,
    "o-test": 50.0,
    "t-train-0": 100.0,
    "t-train-1": 110.0,
    "t-train-2": 140.0,
    "t-test": 115.0,
}


def small(topics: tuple[str, ...] = ("a",)) -> Evidence:
    names = ["train-0", "train-1", "train-2", "test"]
    outputs = [Output("original", "a", place, 0, f"o-{name}") for place, name in enumerate(names)]
    outputs += [Output("aligned", "a", place, 0, f"t-{name}") for place, name in enumerate(names)]
    return Evidence(
        study={},
        topic_ids=topics,
        split={"train": {"a": (0, 1, 2)}, "validation": {}, "test": {"a": (3,)}},
        arms=(Arm("original", ArmKind.ORIGINAL), Arm("aligned", ArmKind.ALIGNED)),
        outputs=tuple(outputs),
        vectors={
            "primary": vectors_of(
                np.array([at(angle) for angle in ANGLES.values()], np.float32), list(ANGLES)
            )
        },
    )


def test_cheap_arms_constant_is_the_medoid_and_copied_the_nearest_originals_target() -> None:
    # 110 lies between 100 and 140; the original at 50 is nearest to the one at 40.
    assert cheap_arms(small()) == {
        "constant": {("a", 3): ("t-train-1",)},
        "copied": {("a", 3): ("t-train-1",)},
    }


def test_cheap_arms_copied_follows_the_original_not_the_target() -> None:
    evidence = small()
    rows = evidence.vectors["primary"].rows.copy()
    rows[list(ANGLES).index("o-test")] = at(79)
    moved = replace(evidence, vectors={"primary": vectors_of(rows, list(ANGLES))})
    assert cheap_arms(moved)["copied"] == {("a", 3): ("t-train-2",)}


def test_cheap_arms_without_training_targets_are_none() -> None:
    assert cheap_arms(make_evidence(measure_only=True)) == {}


def test_cheap_arms_topic_without_training_inputs_has_no_copy() -> None:
    evidence = small(("a", "b"))
    more = replace(
        evidence,
        split={**evidence.split, "test": {"a": (3,), "b": (0,)}},
        outputs=(*evidence.outputs, Output("original", "b", 0, 0, "o-test")),
    )
    made = cheap_arms(more)
    assert set(made["constant"]) == {("a", 3), ("b", 0)}
    assert set(made["copied"]) == {("a", 3)}


@pytest.mark.parametrize("seed", [0, 1])
def test_cheap_arms_order_of_outputs_does_not_matter(seed: int) -> None:
    evidence = make_evidence(seed=seed)
    backwards = replace(evidence, outputs=evidence.outputs[::-1])
    assert cheap_arms(evidence) == cheap_arms(backwards)
