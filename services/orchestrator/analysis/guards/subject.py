"""Does the tuned model still speak of what its input speaks of?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.derived import direction_keys, sample
from services.orchestrator.analysis.guards.context import Drawn, Floats, Material, Rows
from services.orchestrator.analysis.guards.intervals import (
    TRAINED,
    above_chance,
    mean_of,
    measure,
    not_measured,
    percent,
    pooled,
    status_of,
    worst,
)
from services.orchestrator.analysis.results import Estimate, Guard, Measure

ID: Final = "subject"
TITLE: Final = "Subject kept"
QUESTION: Final = "Does the realigned principle still speak of its original's subject?"
MAX_CANDIDATES: Final = 200
LEAST_TELLING: Final = 0.1


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    if not material.tuned.texts:
        return not_measured(ID, TITLE, QUESTION, "there is no tuned arm on test inputs")
    originals, targets = material.unit(material.originals), material.unit(material.targets)
    arms = {
        "tuned": material.tuned,
        "references": material.references,
        "second reference": material.second_references,
        "base": material.base,
    }
    rows = {name: material.unit(drawn.texts) for name, drawn in arms.items() if drawn.texts}
    candidates = _candidates(material)
    chance = _chance(material, candidates)
    found: list[Measure] = []
    weak: list[str] = []
    hits = {
        "original": {
            name: _own(arms[name], rows[name], originals, candidates, material.topic_of) for name in rows
        },
        "counterpart": {
            name: _own(arms[name], rows[name], targets, candidates, material.topic_of)
            for name in rows
            if name != "references"
        },
    }
    by_luck = percent(mean_of(material, chance))
    note = f"among the test inputs of its topic, at most {MAX_CANDIDATES}; chance {by_luck}"
    for goal, against in (("original", "references"), ("counterpart", "second reference")):
        for name, values in hits[goal].items():
            title = f"own {goal} is the nearest, {name}"
            share = pooled(material, values, _trained(name))
            found.append(measure(f"{goal}_{name.replace(' ', '_')}", title, share, note=note))
        if against in hits[goal]:
            ratio = _ratio(material, hits[goal]["tuned"], hits[goal][against], chance)
            if ratio is None:
                weak.append(goal)
            title = f"own {goal} above chance, tuned / {against}"
            found.append(
                measure(
                    f"{goal}_ratio", title, ratio, float(material.gate["min_subject_ratio"]), better="higher"
                )
            )
    found += _topics(material, arms, rows)
    found += _distances(material, arms, rows, originals)
    # The topic is the coarse question: where it is not shown to be lost, the two finer ones decide.
    lost = [item for item in found if item.name == "topic_ratio" and status_of(item) == "fail"]
    status = worst(status_of(item) for item in found if item.name != "topic_ratio" or lost)
    if "original" in weak and status == "pass":
        status = "warn"
    return Guard(
        id=ID,
        title=TITLE,
        question=QUESTION,
        status=status,
        summary=_summary(found, weak),
        measures=tuple(found),
    )


def _candidates(material: Material) -> NDArray[np.bool_]:
    """Inputs that are looked among: all of a topic, or a bounded draw of them."""
    chosen = np.zeros(len(material.keys), dtype=bool)
    for topic in np.unique(material.topic_of):
        members = [int(place) for place in np.flatnonzero(material.topic_of == topic)]
        chosen[sample(members, MAX_CANDIDATES, material.seed)] = True
    return chosen


def _chance(material: Material, candidates: NDArray[np.bool_]) -> Floats:
    size = np.bincount(material.topic_of[candidates], minlength=material.topic_of.max() + 1)
    return np.asarray(np.where(candidates, 1 / size[material.topic_of], np.nan), dtype=np.float64)[:, None]


def _own(
    drawn: Drawn, rows: Rows, goals: Rows, candidates: NDArray[np.bool_], topics: NDArray[np.intp]
) -> Floats:
    """Whether the own goal is the nearest of the topic's: (inputs, seeds), NaN outside the candidates."""
    hit = np.full(len(rows), np.nan)
    for topic in np.unique(topics[candidates]):
        members = np.flatnonzero((topics == topic) & candidates)
        mine = np.flatnonzero(np.isin(drawn.inputs, members))
        if not len(mine):
            continue
        near = rows[mine] @ goals[members].T
        own = near[np.arange(len(mine)), np.searchsorted(members, drawn.inputs[mine])]
        # Equal texts of two inputs are both the nearest.
        hit[mine] = own >= near.max(axis=1) - 1e-6
    return _table(drawn, hit)


def _table(drawn: Drawn, values: Floats) -> Floats:
    known = ~np.isnan(values)
    part = Drawn(
        tuple(text for text, held in zip(drawn.texts, known, strict=True) if held),
        drawn.inputs[known],
        drawn.seeds[known],
        drawn.n_inputs,
        drawn.n_seeds,
    )
    return part.matrix(values[known])


def _ratio(material: Material, tuned: Floats, against: Floats, chance: Floats) -> Estimate | None:
    """(tuned - chance) / (against - chance); None where the denominator says nothing."""
    depth = mean_of(material, against) - mean_of(material, chance)
    return above_chance(material, tuned, against, chance) if depth >= LEAST_TELLING else None


def _topics(material: Material, arms: dict[str, Drawn], rows: dict[str, Rows]) -> list[Measure]:
    """Share of texts that lie nearest to the mean of their own topic's reference texts.

    The means are of inputs outside the test part: a mean that a text is itself a part of lies nearer to it.
    """
    members: dict[str, list[str]] = {}
    for key in direction_keys(material.evidence):
        members.setdefault(key[0], []).append(material.all_targets[key])
    present = np.unique(material.topic_of)
    names = [material.evidence.topic_ids[topic] for topic in present]
    if len(present) < 2 or any(name not in members for name in names):
        return []
    centres = np.stack([material.unit(members[name]).mean(axis=0) for name in names])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    tables = {}
    for name in ("tuned", "references", "base"):
        if name in rows:
            nearest = present[np.argmax(rows[name] @ centres.T, axis=1)]
            right = nearest == material.topic_of[arms[name].inputs]
            tables[name] = arms[name].matrix(right.astype(np.float64))
    chance = np.full((len(material.keys), 1), 1 / len(present))
    found = [
        measure(
            f"topic_{name}",
            f"own topic's mean is the nearest, {name}",
            pooled(material, table, _trained(name)),
        )
        for name, table in tables.items()
    ]
    ratio = _ratio(material, tables["tuned"], tables["references"], chance)
    threshold = float(material.gate["min_subject_ratio"])
    title = "own topic above chance, tuned / references"
    return [*found, measure("topic_ratio", title, ratio, threshold, better="higher")]


def _distances(
    material: Material, arms: dict[str, Drawn], rows: dict[str, Rows], originals: Rows
) -> list[Measure]:
    found = []
    for name in ("tuned", "references", "base"):
        if name in rows:
            differ = 1 - np.einsum("ij,ij->i", rows[name], originals[arms[name].inputs]).astype(np.float64)
            estimate = pooled(material, arms[name].matrix(differ), _trained(name))
            found.append(
                measure(f"distance_{name}", f"value difference to the own original, {name}", estimate)
            )
    return found


def _trained(name: str) -> str:
    return TRAINED if name == "tuned" else ""


def _summary(found: list[Measure], weak: list[str]) -> str:
    value = {item.name: item.value for item in found}
    parts = [
        f"The own original is the nearest of its topic's for {percent(value['original_tuned'] or 0)} of the "
        f"tuned texts; the references reach {percent(value['original_references'] or 0)}"
    ]
    if value.get("original_base") is not None:
        parts[0] += f", the base model {percent(value['original_base'] or 0)}"
    if (ratio := value.get("counterpart_ratio")) is not None:
        parts.append(
            f"the own counterpart is found {ratio:.2f} times as often above chance as by a second draw"
        )
    if (ratio := value.get("topic_ratio")) is not None:
        parts.append(f"the own topic {ratio:.2f} times as often as by the references")
    if "original" in weak:
        parts.append("the references themselves hardly keep the subject, so nothing can be held against them")
    return "; ".join(parts) + "."
