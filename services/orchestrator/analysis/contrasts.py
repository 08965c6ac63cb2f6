"""One arm against another on the same inputs: difference, reduction, sign-flip tests, effect sizes.

The primary figure is tuned against base_p3, pooled; everything by topic is exploratory.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.evidence import ArmKind, Evidence, Key
from services.orchestrator.analysis.instrument import Instrument
from services.orchestrator.analysis.results import Contrast, TopicContrast
from services.orchestrator.analysis.statistics.bootstrap import DIFFERENCE, REDUCTION, Estimates
from services.orchestrator.analysis.statistics.signflip import effect_size, holm, sign_flip

PRIMARY = (ArmKind.TUNED, ArmKind.BASE_P3)
SECONDARY = (
    (ArmKind.TUNED, ArmKind.ORIGINAL),
    (ArmKind.TUNED, ArmKind.BASE_REFERENCE),
    (ArmKind.TUNED, ArmKind.UNIFORM),
    (ArmKind.TUNED, ArmKind.SHUFFLED),
    (ArmKind.TUNED, ArmKind.OTHER),
    (ArmKind.TUNED, ArmKind.CONSTANT),
    (ArmKind.TUNED, ArmKind.COPIED),
    (ArmKind.BASE_P3, ArmKind.ORIGINAL),
    (ArmKind.BASE_REFERENCE, ArmKind.BASE_P3),
)


def contrast(
    evidence: Evidence,
    arm_kind: ArmKind,
    against_kind: ArmKind,
    vectors: str = "primary",
    transform: Callable[[str], str] | None = None,
) -> Contrast | None:
    """The contrast of two kinds of arm as an encoder sees it; None if an arm has no text.

    Args:
        vectors: "primary" or "second".
        transform: changes every text, references too, before it is looked up among the vectors, e.g. masks
            marker words. KeyError names a changed text that was not embedded.
    """
    return contrast_by(Instrument(evidence, vectors, transform), arm_kind, against_kind)


def contrast_by(instrument: Instrument, arm_kind: ArmKind, against_kind: ArmKind) -> Contrast | None:
    """The same with an instrument at hand: several contrasts then share its measurements and resamples.

    Inputs without a text in either arm are left out. None if no input is left, or if the pooled mean of
    ``against`` is 0, of which nothing is a fraction.
    """
    arm, against = instrument.measure(arm_kind), instrument.measure(against_kind)
    if arm is None or against is None:
        return None
    common = set(against.keys)
    keys = tuple(key for key in arm.keys if key in common)
    if not keys:
        return None
    columns = (arm.column(keys), against.column(keys))
    bootstrap = instrument.bootstrap(keys)
    reduction = bootstrap.estimate(REDUCTION, columns)
    difference = bootstrap.estimate(DIFFERENCE, columns)
    if reduction is None or difference is None:
        return None
    values = columns[1].values.mean(axis=0) - columns[0].values.mean(axis=0)
    return Contrast(
        arm=arm_kind.value,
        against=against_kind.value,
        difference=difference.pooled,
        reduction=reduction.pooled,
        p_value=_p_value(instrument, values, keys),
        effect_size=effect_size(values, difference.pooled.value),
        topics=_topics(instrument, values, keys, difference),
    )


def _topics(
    instrument: Instrument, values: NDArray[np.float64], keys: tuple[Key, ...], estimates: Estimates
) -> tuple[TopicContrast, ...]:
    places = {
        topic: [number for number, key in enumerate(keys) if key[0] == topic] for topic in estimates.by_topic
    }
    p_values = {
        topic: _p_value(instrument, values[mine], tuple(keys[number] for number in mine))
        for topic, mine in places.items()
    }
    adjusted = holm(p_values)
    return tuple(
        TopicContrast(
            topic=topic,
            difference=estimate,
            p_value=p_values[topic],
            p_holm=adjusted.get(topic),
            effect_size=effect_size(values[places[topic]], estimate.value),
        )
        for topic, estimate in estimates.by_topic.items()
    )


def _p_value(instrument: Instrument, values: NDArray[np.float64], keys: tuple[Key, ...]) -> float | None:
    topics = [topic for topic, _ in keys]
    sizes = {topic: topics.count(topic) for topic in dict.fromkeys(topics)}
    weights = np.array([1.0 / (len(sizes) * sizes[topic]) for topic in topics])
    study = instrument.evidence.study
    name = next(iter(sizes)) if len(sizes) == 1 else "pooled"
    return sign_flip(values, weights, study["measurement"]["permutations"], study["seed"], name)
