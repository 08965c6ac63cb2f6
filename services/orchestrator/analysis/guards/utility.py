"""What did the tuning cost on prompts that have nothing to do with it? Drift, likelihood and length."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from services.orchestrator.analysis.guards.context import Material
from services.orchestrator.analysis.guards.intervals import (
    by_prompt,
    measure,
    not_measured,
    status_of,
    worst,
)
from services.orchestrator.analysis.results import Guard, Measure

ID: Final = "utility"
TITLE: Final = "Utility drift"
QUESTION: Final = "Does the tuned model still answer general prompts as the base model does?"
BASE: Final = "base"


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    probe = material.evidence.probes.get(ID)
    if not probe:
        return not_measured(ID, TITLE, QUESTION, material.why_not_run(ID, "no general prompts were run"))
    arms = [arm.name for arm in material.tuned_arms if arm.name in probe["answers"]]
    ids = [prompt["id"] for prompt in probe["prompts"]]
    if not arms or len(ids) < 2:
        return not_measured(ID, TITLE, QUESTION, "no tuned arm was run on at least two general prompts")
    scored = [*probe["scores"], *(row for arm in (BASE, *arms) for row in probe["answers"][arm])]
    if not np.all(np.isfinite([row["logprob"] for row in scored])):
        return not_measured(ID, TITLE, QUESTION, "a score of the general prompts is not finite")
    measures = _measures(material, probe, arms, ids)
    value = {item.name: item.value or 0.0 for item in measures}
    summary = (
        f"On {len(ids)} general prompts: KL to the base model {value['kl_tuned']:.2f} and back "
        f"{value['kl_base']:.2f} nats a token, answers {value['nll_increase']:+.2f} nats a token less "
        f"likely, {value['length_ratio']:.2f} times as long."
    )
    # Non-inferiority: the whole interval has to lie within the margin.
    status = worst(status_of(item, strict=True) for item in measures)
    return Guard(id=ID, title=TITLE, question=QUESTION, status=status, summary=summary, measures=measures)


def _measures(
    material: Material, probe: Mapping[str, Any], arms: Sequence[str], ids: Sequence[str]
) -> tuple[Measure, ...]:
    gate = material.gate
    note = f"{len(arms)} training seeds together; interval by prompt"
    kl = float(gate["max_kl_nats"])
    scores = {(row["source"], row["by"], row["id"]): row for row in probe["scores"]}
    drift = {
        "kl_tuned": ("KL(tuned || base), nats a token", [(arm, arm, BASE) for arm in arms]),
        "kl_base": ("KL(base || tuned), nats a token", [(BASE, BASE, arm) for arm in arms]),
    }
    found: list[Measure] = []
    for name, (title, triples) in drift.items():
        # log p(source) - log p(by) of a completion that the source wrote: its mean is the divergence.
        lost = _sums(
            ids,
            [{id_: _gap(scores, source, own, by, id_) for id_ in ids} for source, own, by in triples],
        )
        tokens = _sums(
            ids, [{id_: scores[source, own, id_]["tokens"] for id_ in ids} for source, own, _ in triples]
        )
        found.append(
            measure(
                name, title, by_prompt(material, lost, tokens), kl, better="lower", note=f"sampled; {note}"
            )
        )
    base = {row["id"]: row for row in probe["answers"][BASE]}
    answers = [{row["id"]: row for row in probe["answers"][arm]} for arm in arms]
    worse = _sums(ids, [{id_: base[id_]["logprob"] - arm[id_]["logprob"] for id_ in ids} for arm in answers])
    tokens = _sums(ids, [{id_: base[id_]["tokens"] for id_ in ids} for _ in arms])
    title = "increase of the negative log-likelihood of the shipped answers, nats a token"
    limit = float(gate["max_nll_increase_nats"])
    found.append(
        measure("nll_increase", title, by_prompt(material, worse, tokens), limit, better="lower", note=note)
    )
    return (*found, *_lengths(material, probe, arms, ids, note))


def _lengths(
    material: Material, probe: Mapping[str, Any], arms: Sequence[str], ids: Sequence[str], note: str
) -> tuple[Measure, ...]:
    own = {arm: {row["id"]: row["tokens"] for row in probe["completions"][arm]} for arm in (BASE, *arms)}
    tuned = _sums(ids, [own[arm] for arm in arms]) / len(arms)
    base = _sums(ids, [own[BASE]])
    limit = float(material.gate["max_length_ratio"])
    return (
        measure(
            "length_ratio",
            "length of completions in tokens, tuned / base",
            by_prompt(material, tuned, base),
            limit,
            better="lower",
            note=note,
        ),
        measure(
            "length_inverse",
            "length of completions in tokens, base / tuned",
            by_prompt(material, base, tuned),
            limit,
            better="lower",
            note=note,
        ),
    )


def _gap(scores: Mapping[tuple[str, str, str], Any], source: str, own: str, by: str, id_: str) -> float:
    return float(scores[source, own, id_]["logprob"]) - float(scores[source, by, id_]["logprob"])


def _sums(ids: Sequence[str], parts: Sequence[Mapping[str, float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([sum(part[id_] for part in parts) for id_ in ids], dtype=np.float64)
