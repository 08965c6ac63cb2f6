"""Arms that need no model: what a constant sentence and a copy of a training target would score."""

import numpy as np

from services.orchestrator.analysis.evidence import ArmKind, Evidence, Key
from services.orchestrator.domain.difference import medoid, unit_rows

_CHUNK = 1_000


def cheap_arms(evidence: Evidence) -> dict[str, dict[Key, tuple[str, ...]]]:
    """Texts of the arms "constant" and "copied" for the test inputs; {} without training targets.

    constant: for every input the medoid of all training targets (the smallest mean cosine distance to the
    others; the first of equals). copied: for each input the target of the training input of its topic whose
    original lies nearest (the first of equals); an input whose topic has no training target has no text.
    The encoder is the primary one, also where another one measures.
    """
    vectors = evidence.vectors["primary"]
    targets = evidence.targets()
    train = [key for key in evidence.keys("train") if key in targets]
    test = evidence.keys("test")
    if not train or not test:
        return {}
    texts = [targets[key] for key in train]
    constant = texts[medoid(vectors.of(texts))]
    made: dict[str, dict[Key, tuple[str, ...]]] = {ArmKind.CONSTANT.value: dict.fromkeys(test, (constant,))}
    copied = _copied(evidence, targets, train, test)
    if copied:
        made[ArmKind.COPIED.value] = copied
    return made


def _copied(
    evidence: Evidence, targets: dict[Key, str], train: list[Key], test: tuple[Key, ...]
) -> dict[Key, tuple[str, ...]]:
    vectors = evidence.vectors["primary"]
    originals = {
        key: texts[0]
        for arm in evidence.of_kind(ArmKind.ORIGINAL)
        for key, texts in evidence.texts(arm.name).items()
    }
    found: dict[Key, tuple[str, ...]] = {}
    for topic in evidence.topic_ids:
        sources = [key for key in train if key[0] == topic and key in originals]
        goals = [key for key in test if key[0] == topic and key in originals]
        if not sources or not goals:
            continue
        left = unit_rows(vectors.of(originals[key] for key in sources))
        right = unit_rows(vectors.of(originals[key] for key in goals))
        for start in range(0, len(goals), _CHUNK):
            # Rounded, so that equals stay equal whatever the order of the sum.
            cosines = np.round(right[start : start + _CHUNK] @ left.T, 12)
            for key, place in zip(goals[start : start + _CHUNK], np.argmax(cosines, axis=1), strict=True):
                found[key] = (targets[sources[int(place)]],)
    return found
