"""Do the texts say the opposite of the reference? Embeddings barely see a "not": a judge is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.orchestrator.analysis.derived import calibration_texts, negated_principles
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.guards.context import Drawn, Floats, Material
from services.orchestrator.analysis.guards.intervals import (
    TRAINED,
    mean_of,
    measure,
    not_measured,
    percent,
    pooled,
    status_of,
    worst,
)
from services.orchestrator.analysis.results import Guard, Measure

ID: Final = "polarity"
TITLE: Final = "Polarity"
MOST_FLAGGED: Final = 0.5
LEAST_PAIRS: Final = 5
QUESTION: Final = "Do tuned texts contradict the reference principles more often than before the tuning?"


@dataclass(frozen=True, slots=True)
class Judge:
    """What the judge is worth on statements of known polarity. A text above ``cut`` (log-odds) contradicts.

    ``caught`` and ``false_alarms``: shares of contradicting and of agreeing statements above the cut.
    """

    auc: float
    cut: float
    caught: float
    false_alarms: float
    n: int

    def corrected(self, rate: float) -> float:
        """A share of flagged texts without the judge's errors (Rogan and Gladen 1978), in [0, 1]."""
        told = self.caught - self.false_alarms
        return float(np.clip((rate - self.false_alarms) / told, 0, 1)) if told > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The judge, what it says of each kind of arm, and why it cannot be believed ("" if it can).

    ``rates``: share of texts judged to contradict: (inputs, seeds), NaN where none was asked.
    """

    judge: Judge | None
    rates: dict[str, Floats]
    unfit: str


def ask(material: Material) -> Asked:
    """The calibrated judge of the polarity probe and its answers."""
    if "polarity" not in material.evidence.probes:
        return Asked(None, {}, material.why_not_run(ID, "no judge was asked"))
    items = material.evidence.probes["polarity"]["calibration"]
    scores = np.array([_odds(item) for item in items])
    judge = _calibrated(scores, np.array([bool(item["contradicts"]) for item in items], dtype=bool))
    if judge is None:
        return Asked(None, {}, "the judge was not calibrated on statements of both kinds")
    bar = float(material.gate["min_judge_auc"])
    if judge.auc < bar:
        return Asked(
            judge,
            {},
            f"the model is unfit as a judge of contradiction: it ranks contradicting above agreeing "
            f"statements in {percent(judge.auc)} of pairs (needed {percent(bar)}, chance 50 %)",
        )
    told = _told_apart(material.evidence.probes["polarity"].get("written", ()))
    if told is not None and told < bar:
        return Asked(
            judge,
            {},
            f"the model is unfit as a judge of free text: it tells a reference text from its own opposite in "
            f"{percent(told)} of pairs (needed {percent(bar)}, chance 50 %)",
        )
    rates = _flagged(material, judge)
    both = [mean_of(material, rates[kind]) for kind in ("aligned", "base_p3") if kind in rates]
    if len(both) == 2 and min(both) > MOST_FLAGGED:
        return Asked(
            judge,
            rates,
            f"the model is unfit as a judge: it sees a contradiction in {percent(both[0])} of the reference "
            f"texts and in {percent(both[1])} of the untuned model's",
        )
    return Asked(judge, rates, "")


def _told_apart(rows: Sequence[dict[str, Any]]) -> float | None:
    """Share of written pairs whose opposite is called the more contradicting one; ties count half.

    None with fewer than ``LEAST_PAIRS``. Pairs and not the area under the curve: how near a text lies to the
    principles is the same on both sides.
    """
    odds = {row["id"]: _odds(row) for row in rows}
    pairs = [
        (odds[id_], odds[same])
        for id_ in odds
        if id_.endswith("/opposite") and (same := id_.removesuffix("opposite") + "same") in odds
    ]
    if len(pairs) < LEAST_PAIRS:
        return None
    return float(np.mean([0.5 * (wrong == right) + (wrong > right) for wrong, right in pairs]))


def _flagged(material: Material, judge: Judge) -> dict[str, Floats]:
    place = {key: number for number, key in enumerate(material.keys)}
    names = {
        arm.name: (kind.value, seed)
        for kind in (ArmKind.ALIGNED, ArmKind.BASE_P3, ArmKind.TUNED)
        for seed, arm in enumerate(material.evidence.of_kind(kind))
    }
    rows: dict[str, list[tuple[int, int, float]]] = {}
    for item in material.evidence.probes["polarity"]["outputs"]:
        key = item["topic"], item["index"]
        # A score that is no number is no answer, and certainly not a no.
        if item["arm"] in names and key in place and not np.isnan(_odds(item)):
            kind, seed = names[item["arm"]]
            rows.setdefault(kind, []).append((place[key], seed, float(_odds(item) > judge.cut)))
    tables = {}
    for kind, found in rows.items():
        inputs, seeds, values = (np.array(column) for column in zip(*found, strict=True))
        drawn = Drawn(("",) * len(found), inputs, seeds, len(place), int(seeds.max()) + 1)
        tables[kind] = drawn.matrix(values)
    return tables


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    told = _encoder(material)
    if not material.tuned.texts:
        return not_measured(ID, TITLE, QUESTION, "there is no tuned arm on test inputs", told)
    asked = ask(material)
    judge, rates = asked.judge, asked.rates
    found = []
    if judge is not None:
        bar = float(material.gate["min_judge_auc"])
        note = f"on {judge.n} statements: principles and their negations"
        title = "judge's area under the ROC curve"
        found.append(measure("judge_auc", title, judge.auc, bar, better="higher", note=note))
    if judge is None or asked.unfit:
        return not_measured(ID, TITLE, QUESTION, asked.unfit, [*found, *told])
    if "tuned" not in rates:
        return not_measured(ID, TITLE, QUESTION, "the judge was asked about no tuned text", [*found, *told])
    return _guard(material, judge, rates, found, told)


def _guard(
    material: Material, judge: Judge, rates: dict[str, Floats], found: list[Measure], told: list[Measure]
) -> Guard:
    limit = float(material.gate["max_contradictions"])
    names = {"tuned": "tuned", "aligned": "references", "base_p3": "base"}
    statuses = []
    for kind, name in names.items():
        if kind in rates:
            true = percent(judge.corrected(mean_of(material, rates[kind])))
            note = f"the judge's errors are in it; without them about {true}"
            share = pooled(material, rates[kind], TRAINED if kind == "tuned" else "")
            found.append(measure(f"rate_{name}", f"texts judged to contradict, {name}", share, note=note))
    for kind, name in (("aligned", "references"), ("base_p3", "base")):
        if kind in rates:
            excess = pooled(material, rates["tuned"] - _mean(rates[kind]), TRAINED)
            title = f"texts judged to contradict, tuned - {name}"
            item = measure(f"excess_{name}", title, excess, limit, better="lower")
            statuses.append(status_of(item))
            found.append(item)
    value = {item.name: item.value for item in found}
    shares = ", ".join(
        f"{name} {percent(value[f'rate_{name}'] or 0)}" for name in names.values() if f"rate_{name}" in value
    )
    summary = f"Judged to contradict a reference principle: {shares}; the judge's AUC is {judge.auc:.2f}."
    return Guard(
        id=ID,
        title=TITLE,
        question=QUESTION,
        status=worst(statuses) if statuses else "warn",
        summary=summary,
        measures=(*found, *told),
    )


def _mean(table: Floats) -> Floats:
    """One column: an untrained arm's seeds are samples."""
    return table[:, :1]


def _odds(item: dict[str, Any]) -> float:
    return float(item["logprob_yes"]) - float(item["logprob_no"])


def _calibrated(scores: Floats, wrong: Any) -> Judge | None:
    """AUC (Mann-Whitney) and the cut with the largest caught - false alarms (Youden 1950)."""
    from scipy.stats import mannwhitneyu

    if not len(scores) or wrong.all() or not wrong.any():
        return None
    high, low = scores[wrong], scores[~wrong]
    auc = float(mannwhitneyu(high, low).statistic) / (len(high) * len(low))
    values = np.unique(scores)
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    gains = [(high > cut).mean() - (low > cut).mean() for cut in cuts]
    cut = float(cuts[int(np.argmax(gains))])
    return Judge(auc, cut, float((high > cut).mean()), float((low > cut).mean()), len(scores))


def _encoder(material: Material) -> list[Measure]:
    """What the encoder itself sees of negation; told, never decided on."""
    pairs = negated_principles(material.evidence)
    if not any(pairs.values()) or not material.tuned.texts:
        return []
    found = []
    own = calibration_texts(material.evidence)
    scores = [
        _lean(material, [text], topic, pairs)[0]
        for topic, right, opposite in own
        if pairs[topic]
        for text in (right, opposite)
    ]
    judge = _calibrated(np.array(scores), np.arange(len(scores)) % 2 == 1)
    if judge is not None:
        title = "encoder's area under the ROC curve on reference texts and their negations"
        note = f"{judge.n} texts; near 0.5 the encoder does not see a negation"
        found.append(measure("encoder_auc", title, judge.auc, note=note))
    for name, drawn in (("tuned", material.tuned), ("references", material.references)):
        values = np.full(len(drawn.texts), np.nan)
        for number, topic in enumerate(material.evidence.topic_ids):
            mine = np.flatnonzero(material.topic_of[drawn.inputs] == number)
            if pairs[topic] and len(mine):
                values[mine] = _lean(material, [drawn.texts[at] for at in mine], topic, pairs) > 0
        known = np.flatnonzero(~np.isnan(values))
        if len(known):
            part = Drawn(
                tuple(drawn.texts[at] for at in known),
                drawn.inputs[known],
                drawn.seeds[known],
                drawn.n_inputs,
                drawn.n_seeds,
            )
            share = pooled(material, part.matrix(values[known]), TRAINED if name == "tuned" else "")
            title = f"texts nearer to the negated reference than to the reference, {name}"
            found.append(measure(f"nearer_to_negation_{name}", title, share))
    return found


def _lean(
    material: Material, texts: list[str], topic: str, pairs: dict[str, tuple[tuple[str, str], ...]]
) -> Floats:
    """Cosine with the nearest negated principle - cosine with the nearest principle: shape (n,)."""
    rows = material.unit(texts)
    right = material.unit([text for text, _ in pairs[topic]])
    opposite = material.unit([text for _, text in pairs[topic]])
    return np.asarray((rows @ opposite.T).max(axis=1) - (rows @ right.T).max(axis=1), dtype=np.float64)
