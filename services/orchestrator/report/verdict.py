"""What the analysis says, in words: the verdict, the primary figure and what it must not be mistaken for."""

from dataclasses import dataclass

from services.orchestrator.analysis.results import Analysis, ArmResult, Reason, Verdict
from services.orchestrator.report.schema import Report
from services.orchestrator.report.text import number

_ORDER = (
    "original",
    "base_p3",
    "base_reference",
    "tuned",
    "uniform",
    "shuffled",
    "other",
    "constant",
    "copied",
    "aligned",
)


@dataclass(frozen=True, slots=True)
class Face:
    """How a decision is shown. ``tone``: "good", "warn", "bad" or "plain"; never told by colour alone."""

    word: str
    tone: str
    icon: str
    meaning: str


_FACES = {
    "promote": Face("Promote", "good", "check", "Every rule of the gate passed."),
    "hold": Face(
        "Hold",
        "warn",
        "pause",
        "It is not shown to be good: more evidence, or a closer look, before it is used.",
    ),
    "reject": Face(
        "Reject", "bad", "cross", "It is shown to fail a rule of the gate: do not use this adapter."
    ),
}
_MEASURED = Face("Measured only", "plain", "dash", "Nothing was trained, so there is nothing to promote.")
_NONE = Face(
    "No verdict", "plain", "dash", "This report was written before runs ended in a verdict (schema 1.0)."
)

OUTCOMES = {
    "promote": ("✓", "passed", "good"),
    "hold": ("!", "asks to hold", "warn"),
    "reject": ("✕", "asks to reject", "bad"),
}


def face(report: Report) -> Face:
    """How this report's outcome is shown."""
    if report.analysis is None:
        return _NONE
    return _FACES[report.analysis.verdict.decision] if report.analysis.verdict else _MEASURED


def headline(verdict: Verdict) -> str:
    """One sentence beside the decision's word: what it repeats of the word, or of the reasons, left out."""
    start = f"{verdict.decision}: "
    text = verdict.headline
    if text.lower().startswith(start):
        text = text[len(start) :]
    first, rest = deciding(verdict)
    if verdict.decision != "promote" and first and text.startswith(first[0].text.rstrip(".")):
        count = len(first)
        ask = "asks" if count == 1 else "ask"
        return f"{count} of the gate's {count + len(rest)} rules {ask} to {verdict.decision}."
    return text[:1].upper() + text[1:]


def deciding(verdict: Verdict) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """The reasons that decided, and the rest; of a promotion every reason did."""
    first = tuple(reason for reason in verdict.reasons if reason.outcome == verdict.decision)
    return first, tuple(reason for reason in verdict.reasons if reason.outcome != verdict.decision)


def ordered_arms(analysis: Analysis) -> tuple[ArmResult, ...]:
    """From the untouched model over the trained ones to the cheap ones; unknown kinds last."""
    places = {kind: place for place, kind in enumerate(_ORDER)}
    return tuple(sorted(analysis.arms, key=lambda arm: places.get(arm.kind, len(_ORDER))))


def arm_title(analysis: Analysis, name: str) -> str:
    """What people read for an arm's name."""
    return next((arm.title for arm in analysis.arms if arm.arm == name), name)


def primary_sentence(analysis: Analysis) -> str:
    """The primary figure in words, "" where nothing was trained."""
    contrast = analysis.primary
    if contrast is None:
        return ""
    means = {arm.arm: number(arm.mean.value) for arm in analysis.arms}
    count = f"{contrast.reduction.n} " if contrast.reduction.n else ""
    text = f"Tuned against untuned model, under the same prompt, on the same {count}test inputs"
    if contrast.arm in means and contrast.against in means:
        text += f": {means[contrast.arm]} against {means[contrast.against]}"
    low, high = contrast.reduction.low, contrast.reduction.high
    if low is None or high is None:
        return f"{text}. It has no interval."
    if low > 0:
        return f"{text}. The whole interval lies above zero."
    if high < 0:
        return f"{text}. The whole interval lies below zero: the tuned model lies farther from the reference."
    return f"{text}. Zero lies in the interval: there may be no difference at all."


def scale_sentence(analysis: Analysis) -> str:
    """Floor, register-only level and ceiling in words."""
    scale = analysis.scale
    text = (
        f"Chance pairing (floor): {number(scale.floor.value)}. Right register, wrong subject: "
        f"{number(scale.register_only.value)}."
    )
    if scale.ceiling is None:
        return f"{text} The ceiling was not drawn."
    return (
        f"{text} Two independent draws of the reference for one input (ceiling): "
        f"{number(scale.ceiling.value)}; nearer than that is not more faithful, it is more repetitive."
    )
