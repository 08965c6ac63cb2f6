"""Does the tuned model write its own sentences, or those that it was trained on?"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from services.orchestrator.analysis.guards.context import Drawn, Floats, Material, Rows
from services.orchestrator.analysis.guards.intervals import (
    TRAINED,
    measure,
    not_measured,
    percent,
    pooled,
    status_of,
    worst,
)
from services.orchestrator.analysis.results import Guard, Measure
from services.orchestrator.analysis.text import tokenise

ID: Final = "copying"
TITLE: Final = "Copying of training targets"
QUESTION: Final = "Do the tuned model's texts repeat training targets more than held-out references do?"
NEAREST: Final = 3
GRAM: Final = 8
MAX_TEXTS: Final = 3_000
COPIED: Final = 0.9
_CHUNK: Final = 500


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    if not material.tuned.texts or not material.train_targets:
        return not_measured(
            ID, TITLE, QUESTION, "there is no tuned arm on test inputs, or no training target"
        )
    trained = material.train_targets
    tokens = [tokenise(text) for text in trained]
    rows = material.unit(trained)
    grams = {gram for words in tokens for gram in _grams(words)}
    figures: dict[str, dict[str, Floats]] = {}
    for name, drawn in (("tuned", material.tuned), ("references", material.references)):
        part = drawn.bounded(MAX_TEXTS, material.seed)
        found = {text: _figures(text, near, tokens, grams) for text, near in _nearest(material, part, rows)}
        values = np.array([found[text] for text in part.texts])
        figures[name] = {
            "lcs": part.matrix(values[:, 0]),
            "grams": part.matrix(values[:, 1]),
            "copied": part.matrix((values[:, 0] >= COPIED).astype(np.float64)),
        }
    threshold = float(material.gate["max_copying_excess"])
    measures = _measures(material, figures, threshold)
    value = {item.name: item.value or 0.0 for item in measures}
    summary = (
        f"Longest common subsequence with the nearest training targets {value['lcs_tuned']:.2f} of the text "
        f"(held-out references {value['lcs_references']:.2f}); {percent(value['grams_tuned'])} of "
        f"{GRAM}-grams occur in training targets ({percent(value['grams_references'])}); "
        f"{percent(value['copied_tuned'])} of texts are copies ({percent(value['copied_references'])})."
    )
    status = worst(status_of(item) for item in measures)
    return Guard(id=ID, title=TITLE, question=QUESTION, status=status, summary=summary, measures=measures)


def _measures(
    material: Material, figures: dict[str, dict[str, Floats]], threshold: float
) -> tuple[Measure, ...]:
    titles = {
        "lcs": f"longest common subsequence with the nearest {NEAREST} training targets / longer text",
        "grams": f"{GRAM}-grams that occur in training targets",
        "copied": f"texts that share at least {percent(COPIED)} with a training target",
    }
    note = f"at most {MAX_TEXTS} texts an arm, drawn by the seed"
    found: list[Measure] = []
    for name, title in titles.items():
        tuned, references = figures["tuned"][name], figures["references"][name]
        found.append(measure(f"{name}_tuned", f"{title}, tuned", pooled(material, tuned, TRAINED), note=note))
        found.append(measure(f"{name}_references", f"{title}, references", pooled(material, references)))
        excess = pooled(material, tuned - references, TRAINED)
        found.append(measure(f"{name}_excess", f"{title}, excess", excess, threshold, better="lower"))
    return tuple(found)


def _nearest(material: Material, drawn: Drawn, goals: Rows) -> list[tuple[str, list[int]]]:
    """Each different text with the places of its nearest training targets by embedding."""
    texts = sorted(set(drawn.texts))
    count = min(NEAREST, len(goals))
    found: list[tuple[str, list[int]]] = []
    for start in range(0, len(texts), _CHUNK):
        part = texts[start : start + _CHUNK]
        near = material.unit(part) @ goals.T
        places = np.argsort(-near, axis=1, kind="stable")[:, :count]
        found += [(text, [int(place) for place in row]) for text, row in zip(part, places, strict=True)]
    return found


def _figures(
    text: str, near: Sequence[int], tokens: Sequence[Sequence[str]], grams: set[tuple[str, ...]]
) -> tuple[float, float]:
    from rapidfuzz.distance import LCSseq

    words = tokenise(text)
    shared = max(LCSseq.normalized_similarity(words, tokens[place]) for place in near)
    mine = _grams(words)
    return float(shared), sum(gram in grams for gram in mine) / len(mine)


def _grams(words: Sequence[str]) -> list[tuple[str, ...]]:
    """8-grams; a shorter text is one gram as a whole."""
    return [tuple(words[place : place + GRAM]) for place in range(max(1, len(words) - GRAM + 1))]
