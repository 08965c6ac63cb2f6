"""Are the reference texts that the model wrote references at all?"""

from typing import Final

import numpy as np

from services.orchestrator.analysis.derived import reference_principles, sample
from services.orchestrator.analysis.evidence import Key
from services.orchestrator.analysis.guards.context import Floats, Material
from services.orchestrator.analysis.guards.intervals import (
    measure,
    not_measured,
    percent,
    pooled,
    share_of,
    status_of,
    worst,
)
from services.orchestrator.analysis.guards.polarity import ask
from services.orchestrator.analysis.results import Guard, Measure

ID: Final = "reference_validity"
TITLE: Final = "Validity of the reference texts"
QUESTION: Final = (
    "Did the model write reference texts that lean to the reference, keep the subject and agree?"
)
MAX_INPUTS: Final = 200
NEAR: Final = 0.1


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    keys = _inputs(material)
    if not keys:
        return not_measured(ID, TITLE, QUESTION, "no input has both an original and a reference text")
    least = float(material.gate["min_valid_references"])
    nearer, kept = _conditions(material, keys)
    topics = [material.evidence.topic_ids.index(topic) for topic, _ in keys]
    note = f"{len(keys)} inputs of all parts, at most {MAX_INPUTS} a topic"
    found = [
        measure(
            "nearer",
            "reference texts nearer to the topic's reference principles than their originals",
            share_of(material, nearer, topics),
            least,
            better="higher",
            note=note,
        )
    ]
    if not np.all(np.isnan(kept)):
        title = f"reference texts whose own original is among the nearest {percent(NEAR)} of its topic's"
        share = share_of(material, kept, topics)
        found.append(measure("subject_kept", title, share, least, better="higher", note=note))
    found += _agreeing(material, least)
    told = [f"{percent(item.value or 0)} {item.title}" for item in found]
    summary = "; ".join(told)
    status = worst(status_of(item) for item in found)
    if status != "pass":
        summary += ": this model cannot write its own reference; use a ruler"
    elif len(found) < 3:
        summary += "; whether they contradict the reference was not measured"
    return Guard(
        id=ID, title=TITLE, question=QUESTION, status=status, summary=f"{summary}.", measures=tuple(found)
    )


def _inputs(material: Material) -> list[Key]:
    parts = material.evidence.split
    every = [
        (topic, index)
        for topic in material.evidence.topic_ids
        for index in sorted({index for part in parts.values() for index in part.get(topic, ())})
        if (topic, index) in material.all_targets and (topic, index) in material.all_originals
    ]
    return [
        key
        for topic in material.evidence.topic_ids
        for key in sample([key for key in every if key[0] == topic], MAX_INPUTS, material.seed)
    ]


def _conditions(material: Material, keys: list[Key]) -> tuple[Floats, Floats]:
    """Nearer to the principles (0 or 1) and subject kept (0 or 1, NaN for a lone input), each (inputs,)."""
    principles = reference_principles(material.evidence)
    nearer, kept = np.zeros(len(keys)), np.full(len(keys), np.nan)
    for topic in dict.fromkeys(topic for topic, _ in keys):
        mine = [place for place, key in enumerate(keys) if key[0] == topic]
        written = material.unit([material.all_targets[keys[place]] for place in mine])
        originals = material.unit([material.all_originals[keys[place]] for place in mine])
        goals = material.unit(principles[topic])
        nearer[mine] = (written @ goals.T).max(axis=1) > (originals @ goals.T).max(axis=1) + 1e-6
        if len(mine) > 1:
            near = written @ originals.T
            rank = (near > np.diag(near)[:, None] + 1e-6).sum(axis=1)
            kept[mine] = rank < max(1, int(np.ceil(NEAR * len(mine))))
    return nearer, kept


def _agreeing(material: Material, least: float) -> list[Measure]:
    """Share of reference texts that do not contradict, without the judge's errors; empty if not measured."""
    asked = ask(material)
    judge = asked.judge
    if judge is None or asked.unfit or "aligned" not in asked.rates:
        return []
    flags = pooled(material, asked.rates["aligned"])
    agree = flags.model_copy(
        update={
            "value": 1 - judge.corrected(flags.value),
            "low": None if flags.high is None else 1 - judge.corrected(flags.high),
            "high": None if flags.low is None else 1 - judge.corrected(flags.low),
        }
    )
    title = "reference texts that do not contradict the reference principles"
    note = "judged, and corrected for the judge's errors on statements of known polarity"
    return [measure("agree", title, agree, least, better="higher", note=note)]
