"""Evidence with scores of values, made to measure."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence
from services.orchestrator.analysis.values.dimensions import VALUES
from services.orchestrator.analysis.values.results import ValueAgreement

ARMS = (
    Arm("original", ArmKind.ORIGINAL),
    Arm("aligned", ArmKind.ALIGNED),
    Arm("base_p3", ArmKind.BASE_P3),
    Arm("realigned-i1", ArmKind.TUNED, 0),
    Arm("tuned-s1", ArmKind.TUNED, 1),
    Arm("uniform", ArmKind.UNIFORM, 0),
)
LABELS = {"important": [0.9, 0.05, 0.05], "none": [0.05, 0.9, 0.05], "opposed": [0.05, 0.05, 0.9]}
Say = Callable[[str, str, int, str], str]
"""(arm, topic, index, value) -> answer."""


def known(spoken: Sequence[str] = VALUES) -> list[dict[str, Any]]:
    """Agreement of all ten values, of which only some may be spoken of."""
    made = []
    for value in VALUES:
        if value in spoken:
            item = ValueAgreement(value=value, status="measured", labels={"important": 20}, above_chance=True)
        else:
            item = ValueAgreement(
                value=value, status="too_few_labels", reason="3 labels", labels={"important": 3}
            )
        made.append(item.model_dump(mode="json"))
    return made


def evidence(
    say: Say,
    *,
    agreement: list[dict[str, Any]] | None = None,
    inputs: int = 12,
    topics: Sequence[str] = ("privacy", "fairness"),
    target: Any = "ideal",
    evaluator: str = "head",
    calibrate: bool = False,
    prior: dict[str, list[float]] | None = None,
    **changes: Any,
) -> Evidence:
    """Every arm of ARMS that is measured, ``inputs`` texts a topic, answers as ``say`` has them."""
    spoken = (
        VALUES if agreement is None else [one["value"] for one in agreement if one["status"] == "measured"]
    )

    def numbers(answer: str) -> list[float] | None:
        if answer == "?":
            return None
        return LABELS[answer] if evaluator == "head" else [float(x) for x in np.log(LABELS[answer])]

    outputs = [
        {
            "arm": arm.name,
            "topic": topic,
            "index": index,
            "sample": 0,
            "answers": {value: numbers(say(arm.name, topic, index, value)) for value in spoken},
        }
        for arm in ARMS[:4]
        for topic in topics
        for index in range(inputs)
    ]
    probe = {
        "evaluator": evaluator,
        "id": "a model",
        "sha256": "f" * 64,
        "calibrate": calibrate,
        "questions_sha256": "q" * 64 if evaluator == "judge" else "",
        "prior": prior or {},
        "agreement": agreement,
        "outputs": outputs,
        "weighings": [],
        **changes,
    }
    return Evidence(
        study={
            "seed": 7,
            "measurement": {"resamples": 400, "confidence": 0.95},
            "values": {"target": target},
        },
        topic_ids=tuple(topics),
        split={"test": {topic: tuple(range(inputs)) for topic in topics}},
        arms=ARMS,
        outputs=(),
        vectors={},
        probes={"values": probe},
    )
