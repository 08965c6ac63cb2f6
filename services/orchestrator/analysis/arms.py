"""Each arm by itself: its distance to the reference texts, where it lies on the scale, whether it heeds its
input; the scale; and the matrix of trained on x measured against."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.evidence import ArmKind, Key
from services.orchestrator.analysis.instrument import Instrument, Measured, Texts, with_others
from services.orchestrator.analysis.results import ArmResult, Distribution, Estimate, MatrixCell, Scale
from services.orchestrator.analysis.statistics.bootstrap import DIFFERENCE, MEAN, SCALED, Column
from services.orchestrator.analysis.statistics.energy import energy_test
from services.orchestrator.domain.difference import unit_rows

TITLES = {
    ArmKind.ORIGINAL: "Original principles (base model, first prompt)",
    ArmKind.BASE_P3: "Base model, third prompt",
    ArmKind.BASE_REFERENCE: "Base model, third prompt, reference in context",
    ArmKind.TUNED: "Tuned model",
    ArmKind.UNIFORM: "Tuned with uniform topic weights",
    ArmKind.SHUFFLED: "Tuned on shuffled pairs",
    ArmKind.OTHER: "Tuned on the other reference set",
    ArmKind.CONSTANT: "One constant sentence",
    ArmKind.COPIED: "Copy of the nearest training target",
    ArmKind.ALIGNED: "Further draws of the reference texts",
}
"""Arms of the report in this order, and what people read."""

_MATRIX_ROWS = (ArmKind.BASE_P3, ArmKind.TUNED, ArmKind.OTHER)


def scale(instrument: Instrument) -> Scale | None:
    """Floor, register alone and ceiling; None where there is no text to pair."""
    register = instrument.register_only
    original = instrument.measure(ArmKind.ORIGINAL)
    if register is None or original is None:
        return None
    keys = with_others(original.keys)
    floor = _pooled(instrument, keys, original.column(keys, others=True))
    register_only = _pooled(instrument, *register)
    if floor is None or register_only is None:
        return None
    ceiling = instrument.ceiling
    return Scale(
        floor=floor,
        register_only=register_only,
        ceiling=_pooled(instrument, *ceiling) if ceiling else None,
    )


def arm_results(instrument: Instrument) -> tuple[ArmResult, ...]:
    """Every kind of arm that has texts, in the order of ``TITLES``."""
    found = (arm_result(instrument, kind) for kind in TITLES)
    return tuple(result for result in found if result is not None)


def arm_result(instrument: Instrument, kind: ArmKind) -> ArmResult | None:
    """The arms of a kind, pooled over training seeds; None without texts."""
    measured = instrument.measure(kind)
    if measured is None:
        return None
    means = instrument.bootstrap(measured.keys).estimate(MEAN, [measured.column(measured.keys)])
    if means is None:
        return None
    shuffled = specificity = None
    keys = with_others(measured.keys)
    if keys:
        own, others = measured.column(keys), measured.column(keys, others=True)
        shuffled = _pooled(instrument, keys, others)
        heeded = instrument.bootstrap(keys).estimate(DIFFERENCE, [own, others])
        specificity = heeded.pooled if heeded else None
    return ArmResult(
        arm=kind.value,
        kind=kind.value,
        title=TITLES[kind],
        training_seeds=measured.training_seeds,
        outputs=measured.outputs,
        mean=means.pooled,
        by_topic=means.by_topic,
        shuffled=shuffled.value if shuffled else None,
        specificity=specificity,
        scaled=_scaled(instrument, measured),
        distribution=distribution(instrument, measured),
    )


def _pooled(instrument: Instrument, keys: tuple[Key, ...], column: Column) -> Estimate | None:
    found = instrument.bootstrap(keys).estimate(MEAN, [column]) if keys else None
    return found.pooled if found else None


def _scaled(instrument: Instrument, measured: Measured) -> Estimate | None:
    """On the inputs that have everything; None without a ceiling, or if it is not below the floor."""
    original, ceiling = instrument.measure(ArmKind.ORIGINAL), instrument.ceiling
    if original is None or ceiling is None:
        return None
    drawn, column = ceiling
    place = {key: number for number, key in enumerate(drawn)}
    there = set(original.keys) & set(drawn)
    keys = tuple(key for key in with_others(measured.keys) if key in there)
    # A topic may have lost its company: then its original has no floor.
    floored = set(with_others(original.keys))
    keys = tuple(key for key in keys if key in floored)
    if not keys:
        return None
    floor = original.column(keys, others=True)
    best = Column(column.values[:, [place[key] for key in keys]])
    bootstrap = instrument.bootstrap(keys)
    span = bootstrap.estimate(DIFFERENCE, [best, floor])
    if span is None or span.pooled.value <= 0:
        return None
    found = bootstrap.estimate(SCALED, [measured.column(keys), floor, best])
    return found.pooled if found else None


def distribution(instrument: Instrument, measured: Measured) -> Distribution | None:
    """Energy distance of an arm's texts to the reference texts of the same inputs (all draws of them).

    Further draws of the references are held against the first one. None with fewer than 2 inputs.
    """
    if len(measured.keys) < 2:
        return None
    study = instrument.evidence.study
    rng = np.random.default_rng((study["seed"], zlib.crc32(f"energy/{measured.kind.value}".encode())))
    references = instrument.texts(ArmKind.ALIGNED)[0]
    arms = instrument.texts(measured.kind)
    if measured.kind is ArmKind.ALIGNED:
        arms = [{key: texts[1:] for key, texts in references.items()}]
        references = {key: texts[:1] for key, texts in references.items()}
    # One random order of inputs for both sides, so that a subsample keeps texts of the same inputs.
    order = [measured.keys[place] for place in rng.permutation(len(measured.keys))]
    most = study["measurement"]["max_distribution_texts"]
    left, right = (_interleaved(texts, order, most) for texts in (arms, [references]))
    return energy_test(
        _unit(instrument, left),
        _unit(instrument, right),
        np.array([place for place, _ in left], dtype=np.intp),
        np.array([place for place, _ in right], dtype=np.intp),
        study["measurement"]["permutations"],
        rng,
    )


def _unit(instrument: Instrument, side: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
    return unit_rows(instrument.rows([text for _, text in side]))


def _interleaved(arms: Sequence[Texts], order: Sequence[Key], most: int) -> list[tuple[int, str]]:
    """(place of the input, text): the first sample of every input and training seed, then the second, …"""
    deepest = max(len(arm[key]) for arm in arms for key in order)
    texts = [
        (place, arm[key][sample])
        for sample in range(deepest)
        for arm in arms
        for place, key in enumerate(order)
        if sample < len(arm[key])
    ]
    return texts[:most]


def matrix(instrument: Instrument) -> tuple[MatrixCell, ...]:
    """Means of base, tuned and other against both reference sets, as far as there are texts."""
    cells = []
    for reference in (ArmKind.ALIGNED, ArmKind.ALIGNED_OTHER):
        against = _set_of(instrument, reference)
        for kind in _MATRIX_ROWS:
            measured = instrument.measure(kind, reference)
            if measured is None:
                continue
            mean = _pooled(instrument, measured.keys, measured.column(measured.keys))
            if mean is not None:
                trained_on = "base" if kind is ArmKind.BASE_P3 else _set_of(instrument, kind)
                cells.append(MatrixCell(trained_on=trained_on, measured_against=against, mean=mean))
    return tuple(cells)


def _set_of(instrument: Instrument, kind: ArmKind) -> str:
    """Id of the reference set that the arms of a kind speak of."""
    named = next((arm.reference_set for arm in instrument.evidence.of_kind(kind) if arm.reference_set), "")
    if kind in (ArmKind.OTHER, ArmKind.ALIGNED_OTHER):
        return named or "other"
    return named or str(instrument.evidence.study["reference_set"]["id"])
