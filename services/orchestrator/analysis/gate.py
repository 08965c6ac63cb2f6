"""The gate: promote, hold or reject, with every rule's reason in words and numbers.

reject: it is shown to be bad. hold: it is not shown to be good. promote: every rule passes. No rule asks the
tuned model to beat one constant sentence: for unit embeddings whose references have a mean of length R, the
constant scores 1 - R and a perfect sampler of the references 1 - R^2, which is more. What gives the constant
away is that it heeds no input (specificity, subject) and always says the same (diversity).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.gate_review import PREFIX, review_reasons
from services.orchestrator.analysis.human_review import HumanReview
from services.orchestrator.analysis.results import (
    Analysis,
    ArmResult,
    Contrast,
    Decision,
    Estimate,
    Guard,
    MatrixCell,
    Reason,
    Scale,
    Verdict,
)

_ORDER: Final[tuple[Decision, ...]] = ("reject", "hold", "promote")
# What a guard that fails decides. References that are none say nothing of the tuned model, good or bad.
_ON_FAIL: Final[dict[str, Decision]] = {"reference_validity": "hold", "training": "hold"}
_CONTROLS: Final = {
    "shuffled": "the same training on targets of other inputs",
    "uniform": "the same training with equal topic weights",
    "other": "the same training on the other reference set",
}


def decide(
    settings: Mapping[str, Any],
    primary: Contrast | None,
    contrasts: Sequence[Contrast],
    arms: Sequence[ArmResult],
    scale: Scale,
    guards: Sequence[Guard],
    matrix: Sequence[MatrixCell],
    evidence: Evidence,
) -> Verdict:
    """The verdict on the tuned model.

    Args:
        settings: the study's ``gate`` section, complete.
        primary: tuned against base_p3; None if there is none.
        guards: those of ``guards.evaluate``.

    KeyError for a setting that is missing.
    """
    by_kind = {arm.kind: arm for arm in arms}
    reasons = [
        _reduction(settings, primary),
        _significance(settings, primary),
        _original(contrasts),
        _answered(settings, evidence),
        _specificity(settings, by_kind, scale),
        _distribution(by_kind),
        *_controls(settings, contrasts),
        *_matrix(settings, matrix, evidence),
        _test_inputs(settings, primary),
        _training_seeds(settings, by_kind),
        *_guards(settings, guards, evidence),
        *review_reasons(settings.get("human_review"), None),
    ]
    return _verdict(reasons, primary)


def reviewed(analysis: Analysis, settings: Mapping[str, Any], review: HumanReview | None) -> Analysis:
    """The analysis with the verdict that a closed human review gives it; the other rules stay as they are.

    ``settings``: the study's ``gate`` section. Nothing changes where the run only measured.
    """
    if analysis.verdict is None:
        return analysis
    kept = [reason for reason in analysis.verdict.reasons if not reason.rule.startswith(PREFIX)]
    reasons = [*kept, *review_reasons(settings.get("human_review"), review)]
    return analysis.model_copy(update={"verdict": _verdict(reasons, analysis.primary)})


def _verdict(reasons: list[Reason], primary: Contrast | None) -> Verdict:
    reasons.sort(key=lambda reason: _ORDER.index(reason.outcome))
    decision = reasons[0].outcome
    return Verdict(decision=decision, headline=_headline(decision, reasons, primary), reasons=tuple(reasons))


def _reduction(settings: Mapping[str, Any], primary: Contrast | None) -> Reason:
    least = float(settings["min_reduction"])
    if primary is None:
        return Reason(
            rule="reduction",
            outcome="hold",
            text="No tuned and base arm have texts on the same test inputs: nothing was compared.",
            threshold=least,
        )
    found = primary.reduction
    text = f"Under the third prompt the value difference falls by {_share(found)} against the untuned model"
    return _held_against(
        "reduction",
        found,
        least,
        f"{text}; at least {_percent(least)} is asked for",
        (
            "the whole interval lies below",
            "the interval does not lie above it as a whole",
            "the whole interval lies above",
        ),
    )


def _significance(settings: Mapping[str, Any], primary: Contrast | None) -> Reason:
    alpha = float(settings["alpha"])
    p_value = primary.p_value if primary else None
    if p_value is None:
        return Reason(
            rule="significance", outcome="hold", text="There is no permutation test.", threshold=alpha
        )
    # The test is two-sided: a rise can be significant too.
    risen = primary is not None and primary.difference.value <= 0
    passed = p_value < alpha and not risen
    side = "below" if p_value < alpha else "not below"
    told = ", and the value difference does not fall" if risen else ""
    text = f"The sign-flip permutation test gives p = {p_value:.2g}, {side} {alpha:g}{told}."
    outcome: Decision = "promote" if passed else "hold"
    return Reason(rule="significance", outcome=outcome, text=text, value=p_value, threshold=alpha)


def _original(contrasts: Sequence[Contrast]) -> Reason:
    """An echo of the original can beat a base model that strays from it, and is no step to the reference."""
    pair = ("tuned", "original")
    found = next((each for each in contrasts if (each.arm, each.against) == pair), None)
    if found is None:
        text = "The tuned texts could not be held against the original principles."
        return Reason(rule="original", outcome="hold", text=text)
    return _held_against(
        "original",
        found.reduction,
        0.0,
        f"The tuned texts' value difference is {_share(found.reduction)} below that of the originals",
        ("they are shown to lie farther away", "they are not shown to lie nearer", "they lie nearer"),
    )


def _answered(settings: Mapping[str, Any], evidence: Evidence) -> Reason:
    """What has no text has no distance: whoever is silent where it is hard would look good on the rest."""
    least = float(settings["min_answered"])
    base = {arm.name for arm in evidence.of_kind(ArmKind.BASE_P3)}
    tuned = [arm.name for arm in evidence.of_kind(ArmKind.TUNED)]
    test = set(evidence.keys("test"))
    there: dict[str, set[tuple[str, int, int]]] = {name: set() for name in (*base, *tuned)}
    for output in evidence.outputs:
        if output.arm in there and output.key in test:
            there[output.arm].add((output.topic_id, output.index, output.sample))
    asked: dict[str, set[tuple[str, int, int]]] = {}
    for name in base:
        for place in there[name]:
            asked.setdefault(place[0], set()).add(place)
    shares = [
        (len(there[name] & places) / len(places), topic, name)
        for topic, places in asked.items()
        for name in tuned
    ]
    if not shares:
        text = "There is no text of the untuned model to count the tuned model's against."
        return Reason(rule="answered", outcome="hold", text=text, threshold=least)
    share, topic, name = min(shares)
    text = (
        f"Of the draws that the untuned model answers, the tuned one answers {_percent(share)} in the worst "
        f"topic and training seed ({topic}, {name}); at least {_percent(least)} is asked for."
    )
    outcome: Decision = "promote" if share >= least else "hold"
    return Reason(rule="answered", outcome=outcome, text=text, value=share, threshold=least)


def _specificity(settings: Mapping[str, Any], arms: Mapping[str, ArmResult], scale: Scale) -> Reason:
    ratio = float(settings["min_specificity_ratio"])
    tuned = arms["tuned"].specificity if "tuned" in arms else None
    full, whose = _full_specificity(arms, scale)
    if tuned is None or full is None:
        text = "How far the tuned model heeds its input could not be measured."
        return Reason(rule="specificity", outcome="hold", text=text)
    if full <= 0:
        text = f"Even {whose} heed no input ({full:.3f}): there is nothing to hold the model against."
        return Reason(rule="specificity", outcome="hold", text=text, value=tuned.value)
    text = (
        f"The tuned texts lie nearer to their own reference text than to those of other inputs of the topic "
        f"by {_number(tuned)}; {whose} by {full:.3f}, of which {_percent(ratio)} is asked for"
    )
    return _held_against(
        "specificity",
        tuned,
        ratio * full,
        text,
        (
            "it is shown to heed its input too little",
            "it is not shown to heed its input enough",
            "it heeds its input",
        ),
        point=True,
    )


def _full_specificity(arms: Mapping[str, ArmResult], scale: Scale) -> tuple[float | None, str]:
    """What a model that heeds its input fully reaches: a second draw of the references, or else the base."""
    if "aligned" in arms and (own := arms["aligned"].specificity) is not None:
        return own.value, "further draws of the references"
    if scale.ceiling is not None:
        return scale.register_only.value - scale.ceiling.value, "further draws of the references"
    if "base_p3" in arms and (own := arms["base_p3"].specificity) is not None:
        return own.value, "the untuned model's texts"
    return None, ""


def _distribution(arms: Mapping[str, ArmResult]) -> Reason:
    tuned, base = (arms[kind].distribution if kind in arms else None for kind in ("tuned", "base_p3"))
    if tuned is None or base is None:
        text = "The energy distance to the reference texts was not measured."
        return Reason(rule="distribution", outcome="hold", text=text)
    nearer = tuned.statistic < base.statistic
    how = "nearer" if nearer else "no nearer"
    text = (
        f"As a whole the tuned texts lie {how} to the reference texts than the "
        f"untuned model's: energy distance {tuned.statistic:.3f} against {base.statistic:.3f}."
    )
    return Reason(
        rule="distribution",
        outcome="promote" if nearer else "hold",
        text=text,
        value=tuned.statistic,
        threshold=base.statistic,
    )


def _controls(settings: Mapping[str, Any], contrasts: Sequence[Contrast]) -> Iterable[Reason]:
    least = float(settings["min_reduction"])
    against = {contrast.against: contrast for contrast in contrasts if contrast.arm == "tuned"}
    for name in settings["required_controls"]:
        rule = f"control_{name}"
        if name not in against:
            text = f"The control is missing: {_CONTROLS[name]}."
            yield Reason(rule=rule, outcome="hold", text=text)
            continue
        found = against[name].reduction
        # A control that does as well as the model: the training did not teach what it was meant to.
        yield _held_against(
            rule,
            found,
            0.0,
            f"The tuned model's value difference is {_share(found)} below that of {_CONTROLS[name]}",
            (
                f"it is shown to gain less than {_percent(least)} over the control",
                "it is not shown to gain anything over the control",
                "it gains over the control",
            ),
            reject_below=least,
        )


def _matrix(
    settings: Mapping[str, Any], matrix: Sequence[MatrixCell], evidence: Evidence
) -> Iterable[Reason]:
    """Diagonal of trained on x measured against, if the other set was trained on too."""
    own = str(evidence.study["reference_set"]["id"])
    cells = {(cell.trained_on, cell.measured_against): cell.mean for cell in matrix}
    others = sorted({trained for trained, _ in cells} - {own, "base"})
    for other in others:
        mine, theirs = cells.get((own, own)), cells.get((other, own))
        if mine is None or theirs is None:
            continue
        wins = mine.value < theirs.value
        text = (
            f"Measured against {own}, the model trained on it lies at {mine.value:.3f} and the one trained "
            f"on {other} at {theirs.value:.3f}: the diagonal {'wins' if wins else 'does not win'}."
        )
        outcome: Decision = "promote" if wins else "hold"
        yield Reason(rule="matrix", outcome=outcome, text=text, value=mine.value, threshold=theirs.value)


def _test_inputs(settings: Mapping[str, Any], primary: Contrast | None) -> Reason:
    least = int(settings["min_test_inputs"])
    inputs = primary.reduction.n if primary else 0
    return _enough("test_inputs", inputs, least, f"{inputs} test inputs; at least {least} are asked for.")


def _training_seeds(settings: Mapping[str, Any], arms: Mapping[str, ArmResult]) -> Reason:
    least = int(settings["min_training_seeds"])
    seeds = arms["tuned"].training_seeds if "tuned" in arms else 0
    plural = "" if seeds == 1 else "s"
    return _enough(
        "training_seeds", seeds, least, f"{seeds} training seed{plural}; at least {least} are asked for."
    )


def _enough(rule: str, value: int, least: int, text: str) -> Reason:
    outcome: Decision = "promote" if value >= least else "hold"
    return Reason(rule=rule, outcome=outcome, text=text, value=value, threshold=least)


def _guards(settings: Mapping[str, Any], guards: Sequence[Guard], evidence: Evidence) -> Iterable[Reason]:
    # A task that the study names was asked for.
    named = ("tasks",) if evidence.study["guards"]["tasks"] else ()
    required = (*settings["required"], *named)
    by_id = {guard.id: guard for guard in guards}
    for name in required:
        if name not in by_id:
            text = f"The guard '{name}' is required and there is no such result."
            yield Reason(rule=name, outcome="hold", text=text)
    for guard in guards:
        needed = guard.id in required
        # Whatever was seen to fail counts, required or not.
        outcome: Decision = "promote"
        if guard.status == "fail":
            outcome = _ON_FAIL.get(guard.id, "reject")
        elif guard.status != "pass" and needed:
            outcome = "hold"
        yield Reason(rule=guard.id, outcome=outcome, text=f"{guard.title}: {guard.summary}")


def _held_against(
    rule: str,
    found: Estimate,
    threshold: float,
    text: str,
    words: tuple[str, str, str],
    point: bool = False,
    reject_below: float | None = None,
) -> Reason:
    """promote above the threshold (the whole interval; with ``point`` the estimate), reject where the whole
    interval lies below ``reject_below`` (by default the threshold), hold between.

    ``words``: for reject, hold, promote.
    """
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    known = found.low is not None
    limit = threshold if reject_below is None else reject_below
    outcome: Decision
    if known and (found.value if point else low) > threshold:
        outcome = "promote"
    elif known and high < limit:
        outcome = "reject"
    else:
        outcome = "hold"
    told = words[_ORDER.index(outcome)] if known else "there is no interval"
    return Reason(rule=rule, outcome=outcome, text=f"{text}: {told}.", value=found.value, threshold=threshold)


def _headline(decision: Decision, reasons: Sequence[Reason], primary: Contrast | None) -> str:
    if decision == "promote" and primary is not None:
        return (
            f"Promote: the value difference falls by {_share(primary.reduction)}, the model heeds its input, "
            f"and every rule passes."
        )
    deciding = [reason for reason in reasons if reason.outcome == decision]
    more = f" ({len(deciding) - 1} more of {len(reasons)} rules)" if len(deciding) > 1 else ""
    name = {"reject": "Reject", "hold": "Hold", "promote": "Promote"}[decision]
    return f"{name}: {deciding[0].text.rstrip('.')}{more}."


def _share(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return _percent(found.value)
    return f"{_percent(found.value)} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def _number(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _percent(value: float) -> str:
    # No minus sign before a zero.
    return f"{round(100 * value) + 0:.0f} %"
