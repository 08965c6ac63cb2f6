"""``value_space``: everything that the report says of values, from the raw scores that a run kept.

The raw scores (``Evidence.probes["values"]``) are JSON::

    {"evaluator": "judge" | "head", "id", "sha256", "calibrate", "questions_sha256",
     "prior": {value: [P(important), P(none), P(opposed)]},           # judge: of content-free questions
     "outputs": [{"arm", "topic", "index", "sample", "answers": {value: [3 numbers] | null}}],
     "agreement": [ValueAgreement, …] | null, "weighings": [Weighing, …]}

``answers`` are log-probabilities in nats for a judge and probabilities for a head; null where none could
be had. A value that is missing was not asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Key
from services.orchestrator.analysis.values.dimensions import (
    TITLES,
    VALUES,
    Floats,
    answer_probabilities,
    hard_labels,
    soft_scores,
    target_vector,
)
from services.orchestrator.analysis.values.results import (
    ArmVector,
    ValueAgreement,
    ValueContrast,
    ValueDimension,
    ValueSpace,
    Weighing,
)
from services.orchestrator.analysis.values.vectors import Resampling, Scored, pooled_means, vector

KINDS = (ArmKind.ORIGINAL, ArmKind.ALIGNED, ArmKind.BASE_P3, ArmKind.TUNED)
"""Arms that are measured, of the tuned ones the first training seed; in the order of the report."""

ARM_TITLES: Mapping[ArmKind, str] = {
    ArmKind.ORIGINAL: "base, first prompt",
    ArmKind.ALIGNED: "reference texts",
    ArmKind.BASE_P3: "base, third prompt",
    ArmKind.TUNED: "tuned, third prompt",
}
Rows = dict[Key, tuple[Floats, Floats]]


def measured_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The arms whose texts are asked about."""
    found = []
    for kind in KINDS:
        of_kind = sorted(
            (arm for arm in arms if arm.kind is kind), key=lambda arm: (arm.training_seed or 0, arm.name)
        )
        found += of_kind[:1]
    return tuple(found)


def value_space(evidence: Evidence) -> ValueSpace | None:
    """None if the run has no scores of values. Deterministic: equal evidence gives equal results."""
    probe = evidence.probes.get("values")
    if not probe:
        return None
    study = evidence.study
    measurement = study["measurement"]
    resampling = Resampling(
        int(study["seed"]), int(measurement["resamples"]), float(measurement["confidence"])
    )
    target = target_vector(study["values"]["target"])
    dimensions = _dimensions(probe, target)
    spoken = tuple(dimension.value for dimension in dimensions if dimension.spoken)
    arms = []
    topics_of: dict[str, dict[str, Scored]] = {}
    keys_of: dict[str, Rows] = {}
    for arm in measured_arms(evidence.arms):
        rows = _rows(probe, arm.name)
        if not rows:
            continue
        keys_of[arm.name] = rows
        topics = topics_of[arm.name] = _by_topic(evidence.topic_ids, rows)
        arms.append(
            ArmVector(
                arm=arm.name,
                kind=arm.kind.value,
                title=ARM_TITLES[arm.kind],
                pooled=vector(list(topics.values()), target, spoken, resampling, arm.name),
                topics={
                    topic: vector([part], target, spoken, resampling, f"{arm.name}|{topic}")
                    for topic, part in topics.items()
                },
                incomplete=_incomplete(topics.values(), target, spoken),
            )
        )
    return ValueSpace(
        evaluator=probe["evaluator"],
        evaluator_id=probe["id"],
        evaluator_sha256=probe["sha256"],
        agreement="measured" if probe["agreement"] is not None else "unknown",
        calibrated=bool(probe["evaluator"] == "judge" and probe["calibrate"]),
        questions_sha256=probe["questions_sha256"],
        target=target,
        dimensions=dimensions,
        arms=tuple(arms),
        contrasts=_contrasts(evidence, keys_of, target, spoken, resampling),
        weighings=tuple(Weighing.model_validate(item) for item in probe.get("weighings", ())),
        level=resampling.level,
        seed=resampling.seed,
        resamples=resampling.resamples,
        notes=_notes(probe, dimensions),
    )


def probabilities(probe: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Floats]:
    """Probabilities of the three answers by value for one output; values without an answer are missing."""
    found = {}
    for value, numbers in answers.items():
        if numbers is None:
            continue
        if probe["evaluator"] == "head":
            found[value] = np.asarray(numbers, dtype=np.float64)
        else:
            found[value] = answer_probabilities(
                numbers, probe["prior"][value] if probe["calibrate"] else None
            )
    return found


def standings(agreement: Sequence[ValueAgreement] | None) -> dict[str, ValueAgreement | None]:
    """Agreement by value; None for all of a judge that was never held against labels."""
    by_value = {item.value: item for item in agreement or ()}
    return {value: by_value.get(value) for value in VALUES}


def spoken_values(agreement: Sequence[ValueAgreement] | None) -> tuple[str, ...]:
    """Values that an evaluator may speak of."""
    if agreement is None:
        return VALUES
    known = standings(agreement)
    return tuple(value for value in VALUES if (item := known[value]) and item.status == "measured")


def _dimensions(probe: Mapping[str, Any], target: Mapping[str, float]) -> tuple[ValueDimension, ...]:
    given = probe["agreement"]
    agreement = None if given is None else [ValueAgreement.model_validate(item) for item in given]
    spoken, known = spoken_values(agreement), standings(agreement)
    made = []
    for value in VALUES:
        item = known[value]
        silent = "" if value in spoken else (item.reason if item else "it has no labels")
        standing = "unknown" if agreement is None else "measured" if value in spoken else "too_few_labels"
        made.append(
            ValueDimension.model_validate(
                {
                    "value": value,
                    "title": TITLES[value],
                    "target": target[value],
                    "standing": standing,
                    "reason": silent,
                    "agreement": item,
                }
            )
        )
    return tuple(made)


def _rows(probe: Mapping[str, Any], arm: str) -> Rows:
    """Soft scores and likeliest answers by input, each of shape (10,), NaN where there is none."""
    found: Rows = {}
    for output in probe["outputs"]:
        if output["arm"] != arm or output["sample"] != 0:
            continue
        scores, labels = np.full(len(VALUES), np.nan), np.full(len(VALUES), np.nan)
        for value, row in probabilities(probe, output["answers"]).items():
            place = VALUES.index(value)
            scores[place] = soft_scores(row)
            labels[place] = hard_labels(row)
        found[output["topic"], int(output["index"])] = scores, labels
    return found


def _by_topic(topic_ids: Sequence[str], rows: Rows) -> dict[str, Scored]:
    found = {}
    for topic in topic_ids:
        members = [rows[key] for key in sorted(rows) if key[0] == topic]
        if members:
            found[topic] = Scored(
                np.stack([scores for scores, _ in members]), np.stack([labels for _, labels in members])
            )
    return found


def _incomplete(topics: Any, target: Mapping[str, float], spoken: Sequence[str]) -> int:
    return int(sum(np.isnan(part.distances(target, spoken)).sum() for part in topics)) if spoken else 0


def _contrasts(
    evidence: Evidence,
    keys_of: Mapping[str, Rows],
    target: Mapping[str, float],
    spoken: Sequence[str],
    resampling: Resampling,
) -> tuple[ValueContrast, ...]:
    """The tuned arm against both untuned ones, on the inputs that both have."""
    by_kind = {arm.kind: arm.name for arm in measured_arms(evidence.arms) if arm.name in keys_of}
    tuned = by_kind.get(ArmKind.TUNED)
    made = []
    for kind in (ArmKind.BASE_P3, ArmKind.ORIGINAL):
        other = by_kind.get(kind)
        if tuned is None or other is None or not spoken:
            continue
        shared = sorted(keys_of[tuned].keys() & keys_of[other].keys())
        mine = _by_topic(evidence.topic_ids, {key: keys_of[tuned][key] for key in shared})
        theirs = _by_topic(evidence.topic_ids, {key: keys_of[other][key] for key in shared})
        columns = [
            (theirs[topic].distances(target, spoken) - mine[topic].distances(target, spoken))[:, None]
            for topic in mine
        ]
        if not any(np.isfinite(part).any() for part in columns):
            continue
        means, drawn, counts = pooled_means(columns, resampling, f"{tuned}|{other}")
        difference = resampling.estimate(float(means[0]), drawn[:, 0], int(counts[0]))
        made.append(ValueContrast(arm=tuned, against=other, difference=difference))
    return tuple(made)


def _notes(probe: Mapping[str, Any], dimensions: Sequence[ValueDimension]) -> tuple[str, ...]:
    notes = [
        "A score is P(important) - P(opposed); a value without connection counts as 0 in the distance.",
        "Distances are root mean squares over the values that the evaluator may speak of.",
    ]
    if probe["agreement"] is None:
        notes.append(
            "How well this judge agrees with people is unknown: it was not held against labels. "
            "Read its scores as the model's own opinion."
        )
    if silent := [dimension.title for dimension in dimensions if not dimension.spoken]:
        notes.append(f"Too few labels to speak of: {', '.join(silent)}.")
    weak = [
        dimension.title
        for dimension in dimensions
        if dimension.agreement is not None and dimension.agreement.above_chance is False
    ]
    if weak:
        notes.append(f"Agreement with held-out labels is no better than chance for: {', '.join(weak)}.")
    return tuple(notes)
