"""Does the tuned model still say different things? Counted on words and on embeddings."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.derived import sample
from services.orchestrator.analysis.guards.context import Drawn, Material, Rows
from services.orchestrator.analysis.guards.intervals import measure, not_measured, status_of, worst
from services.orchestrator.analysis.results import Guard, Measure
from services.orchestrator.analysis.text import tokenise

ID: Final = "diversity"
TITLE: Final = "Diversity"
QUESTION: Final = "Are the tuned model's texts as different from one another as the references are?"
MAX_TEXTS: Final = 2_000
MAX_SELF_BLEU_TEXTS: Final = 100
LEAST_OF_A_TOPIC: Final = 5
"""Inputs of a topic from which it is looked at by itself."""

_TITLES: Final = {
    "distinct_1": "different words / words",
    "distinct_2": "different word pairs / word pairs",
    "self_bleu": "1 - self-BLEU",
    "unique": "share of different texts",
    "distance": "mean pairwise value difference",
    "vendi": "Vendi score (effective number of different texts)",
}


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    if not material.tuned.texts or not material.base.texts:
        return not_measured(ID, TITLE, QUESTION, "there is no tuned or no base arm on test inputs")
    tuned, base, references, topics = _matched(material)
    if len(references) < 2:
        return not_measured(ID, TITLE, QUESTION, "fewer than two test inputs have a text of every arm")
    arms = [*tuned, base, references]
    words = min(int(np.median([len(tokenise(text)) for text in texts])) for texts in arms)
    figures = [_figures(material, texts, max(1, words)) for texts in arms]
    own = {name: float(np.mean([figure[name] for figure in figures[: len(tuned)]])) for name in _TITLES}
    note = f"{len(references)} texts an arm, cut to {words} words for the counts of words"
    measures = (
        *_measures(material, own, figures[-2], figures[-1], note),
        *_worst_topic(material, tuned, references, topics),
    )
    status = worst(status_of(item) for item in measures)
    low = [item for item in measures if status_of(item) != "pass"]
    # The lowest tell enough; all of them are among the measures.
    shown = sorted(low, key=lambda item: (item.value or 0.0, item.name))[:2]
    summary = (
        f"Vendi score {own['vendi']:.1f} (references {figures[-1]['vendi']:.1f}, "
        f"base {figures[-2]['vendi']:.1f}), {100 * own['unique']:.0f} % of texts different; "
        + (
            "too uniform: " + ", ".join(f"{item.title} {item.value:.2f}" for item in shown) + "."
            if shown
            else "about as varied as the references."
        )
    )
    return Guard(id=ID, title=TITLE, question=QUESTION, status=status, summary=summary, measures=measures)


def _measures(
    material: Material,
    own: dict[str, float],
    base: dict[str, float],
    references: dict[str, float],
    note: str,
) -> tuple[Measure, ...]:
    of_references = float(material.gate["min_diversity_ratio"])
    of_base = float(material.gate["min_diversity_of_base"])
    found: list[Measure] = []
    for name, title in _TITLES.items():
        found.append(measure(name, f"{title}, tuned", own[name], note=note))
        for against, figures, least in (("references", references, of_references), ("base", base, of_base)):
            ratio = own[name] / figures[name] if figures[name] > 0 else None
            found.append(
                measure(f"{name}_of_{against}", f"{title}, tuned / {against}", ratio, least, better="higher")
            )
    return tuple(found)


def _worst_topic(
    material: Material, tuned: list[list[str]], references: list[str], topics: NDArray[np.intp]
) -> tuple[Measure, ...]:
    """Different texts and pairwise difference in the topic and training seed where they are fewest."""
    least = float(material.gate["min_diversity_of_topic"])
    ratios: dict[str, list[tuple[float, str]]] = {"unique": [], "distance": []}
    for topic in np.unique(topics):
        places = np.flatnonzero(topics == topic)
        if len(places) < LEAST_OF_A_TOPIC:
            continue
        own, *others = (_spread(material, [texts[at] for at in places]) for texts in (references, *tuned))
        for name, found in ratios.items():
            if own[name] > 0:
                named = material.evidence.topic_ids[topic]
                found += [(other[name] / own[name], named) for other in others]
    return tuple(
        measure(
            f"{name}_worst_topic",
            f"{_TITLES[name]}, tuned / references, worst topic",
            min(found)[0],
            least,
            better="higher",
            note=f"topic {min(found)[1]}",
        )
        for name, found in ratios.items()
        if found
    )


def _spread(material: Material, texts: Sequence[str]) -> dict[str, float]:
    return {"unique": _unique(texts), "distance": pairwise_distance(material.unit(texts))}


def _unique(texts: Sequence[str]) -> float:
    return len({" ".join(tokenise(text)) for text in texts}) / len(texts)


def _matched(material: Material) -> tuple[list[list[str]], list[str], list[str], NDArray[np.intp]]:
    """One text an input and arm, for the inputs that every arm has: by training seed, base, references.

    Last the topic of each of these inputs.
    """
    firsts = [_first_by_input(material.tuned, seed) for seed in range(material.tuned.n_seeds)]
    firsts += [_first_by_input(material.base, 0), _first_by_input(material.references, 0)]
    shared = sorted(set.intersection(*(set(first) for first in firsts)))
    chosen = sample(shared, MAX_TEXTS, material.seed)
    lists = [[first[place] for place in chosen] for first in firsts]
    return lists[:-2], lists[-2], lists[-1], material.topic_of[np.array(chosen, dtype=np.intp)]


def _first_by_input(drawn: Drawn, seed: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for text, place, own in zip(drawn.texts, drawn.inputs, drawn.seeds, strict=True):
        if own == seed:
            found.setdefault(int(place), text)
    return found


def _figures(material: Material, texts: Sequence[str], words: int) -> dict[str, float]:
    cut = [tokenise(text)[:words] for text in texts]
    rows = material.unit(texts)
    return {
        "distinct_1": distinct(cut, 1),
        "distinct_2": distinct(cut, 2),
        "self_bleu": max(0.0, 1 - self_bleu([" ".join(tokens) for tokens in cut], material.seed)),
        "unique": _unique(texts),
        "distance": pairwise_distance(rows),
        "vendi": vendi_score(rows),
    }


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Different n-grams / n-grams of all texts together (Li et al. 2016, distinct-n); 0 without any."""
    grams = [tuple(words[place : place + n]) for words in texts for place in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(texts: Sequence[str], seed: int) -> float:
    """Mean sentence BLEU of each text against the others, in [0, 1] (Zhu et al. 2018, Texygen).

    On at most ``MAX_SELF_BLEU_TEXTS`` of the texts, drawn by the seed: its cost grows with their square.
    """
    from sacrebleu.metrics.bleu import BLEU

    chosen = sample(texts, MAX_SELF_BLEU_TEXTS, seed)
    if len(chosen) < 2:
        return 0.0
    bleu = BLEU(effective_order=True, tokenize="none")
    scores = [
        bleu.sentence_score(text, chosen[:place] + chosen[place + 1 :]).score
        for place, text in enumerate(chosen)
    ]
    return float(np.mean(scores)) / 100


def pairwise_distance(rows: Rows) -> float:
    """Mean of 1 - cosine over all pairs of n unit rows, from their sum: (|sum|^2 - n) / (n (n - 1))."""
    n = len(rows)
    total = rows.sum(axis=0, dtype=np.float64)
    return max(0.0, float(1 - (total @ total - n) / (n * (n - 1))))


def vendi_score(rows: Rows) -> float:
    """exp of the entropy of the eigenvalues of X^T X / n for n unit rows X (Friedman and Dieng 2023, eq. 3).

    Between 1 (all texts alike) and n. X^T X / n and the n x n kernel X X^T / n have the same eigenvalues.
    """
    from scipy.linalg import eigvalsh

    wide = rows.astype(np.float64)
    n = len(wide)
    gram = wide.T @ wide if wide.shape[1] <= n else wide @ wide.T
    values = eigvalsh(gram / n)
    positive = values[values > 1e-12]
    positive = positive / positive.sum()
    return float(np.exp(-(positive * np.log(positive)).sum()))
