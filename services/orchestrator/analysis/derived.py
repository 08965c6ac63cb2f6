"""Texts that the analysis makes out of the kept ones, and so every text that must be embedded for it."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import numpy as np

from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Key
from services.orchestrator.analysis.markers import markers_of
from services.orchestrator.analysis.text import mask, negate

MAX_CALIBRATION: Final = 100
"""Reference texts whose negation shows what the encoder sees of a "not"."""

MAX_DIRECTION: Final = 600
"""Inputs outside the test part that show in which direction the references lie from their originals."""

_COMPARED_KINDS = (ArmKind.BASE_P3, ArmKind.TUNED)
_T = TypeVar("_T")


def reference_principles(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    """Texts of the reference principles by topic id, in the mapping's order."""
    reference = evidence.study["reference_set"]
    texts = {principle["id"]: principle["text"] for principle in reference["principles"]}
    return {
        topic: tuple(texts[name] for name in reference["topics"].get(topic, ()))
        for topic in evidence.topic_ids
    }


def negated_principles(evidence: Evidence) -> dict[str, tuple[tuple[str, str], ...]]:
    """(principle, its negation) by topic id; those that cannot be negated by rule are left out."""
    if "en" not in evidence.study["reference_set"].get("languages", ("en",)):
        return dict.fromkeys(evidence.topic_ids, ())
    return {topic: tuple(_negations(texts)) for topic, texts in reference_principles(evidence).items()}


def calibration_texts(evidence: Evidence) -> tuple[tuple[str, str, str], ...]:
    """(topic id, reference text, its negation) of at most ``MAX_CALIBRATION`` inputs, drawn by the seed."""
    if "en" not in evidence.study["reference_set"].get("languages", ("en",)):
        return ()
    targets = evidence.targets()
    keys = [key for key in evidence.keys("train") or evidence.keys("test") if key in targets]
    pairs = ((key[0], targets[key], negate(targets[key])) for key in keys)
    usable = [(topic, text, opposite) for topic, text, opposite in pairs if opposite is not None]
    return tuple(sample(usable, MAX_CALIBRATION, int(evidence.study["seed"])))


def compared_arms(evidence: Evidence) -> tuple[Arm, ...]:
    """The arms of the primary figure: the base model under the third prompt, and the tuned ones."""
    return tuple(arm for kind in _COMPARED_KINDS for arm in evidence.of_kind(kind))


def direction_keys(evidence: Evidence) -> tuple[Key, ...]:
    """Inputs outside the test part with an original and a reference text, at most ``MAX_DIRECTION``."""
    targets, originals = evidence.targets(), evidence.texts(ArmKind.ORIGINAL.value)
    keys = [*evidence.keys("train"), *evidence.keys("validation")]
    usable = [key for key in keys if key in targets and key in originals]
    return tuple(sample(usable, MAX_DIRECTION, int(evidence.study["seed"])))


def required_texts(evidence: Evidence) -> dict[str, list[str]]:
    """Every text that the analysis embeds, by encoder ("primary", "second"); vectors are not read.

    primary: all kept texts, the reference principles, their negations, the negated reference texts of the
    calibration, and what the leakage guard masks. second: what the primary figure compares, on test inputs.
    """
    principles = {text for texts in reference_principles(evidence).values() for text in texts}
    negated = {opposite for pairs in negated_principles(evidence).values() for _, opposite in pairs}
    opposites = {opposite for _, _, opposite in calibration_texts(evidence)}
    compared = _test_texts(evidence)
    masked = _masked(evidence, compared) if evidence.of_kind(ArmKind.TUNED) else set()
    kept = {output.text for output in evidence.outputs}
    return {
        "primary": sorted(kept | principles | negated | opposites | masked),
        "second": sorted(compared),
    }


def sample(items: Sequence[_T], size: int, seed: int) -> list[_T]:
    """At most ``size`` of the items in their order; which ones follows from the seed."""
    if len(items) <= size:
        return list(items)
    places = np.random.default_rng(seed).choice(len(items), size, replace=False)
    return [items[place] for place in sorted(places)]


def _test_texts(evidence: Evidence) -> set[str]:
    names = {arm.name for arm in compared_arms(evidence)} | {ArmKind.ALIGNED.value}
    test = set(evidence.keys("test"))
    return {output.text for output in evidence.outputs if output.arm in names and output.key in test}


def _masked(evidence: Evidence, compared: set[str]) -> set[str]:
    markers = markers_of(evidence)
    targets = evidence.targets()
    originals = {key: texts[0] for key, texts in evidence.texts(ArmKind.ORIGINAL.value).items()}
    known = {originals[key] for key in evidence.keys("test") if key in originals}
    for key in direction_keys(evidence):
        known |= {originals[key], targets[key]}
    both = (*markers.words, *markers.base_words)
    return {mask(text, markers.words) for text in compared} | {mask(text, both) for text in compared | known}


def _negations(texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        opposite = negate(text)
        if opposite is not None:
            yield text, opposite
