"""The gate's rules on a human review (study ``gate.human_review``). Off unless it is required."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.analysis.human_review import HumanReview
from services.orchestrator.analysis.results import Decision, Estimate, Reason

PREFIX: Final = "human_review"
"""What the ids of these rules begin with."""
_NEEDED: Final = "needs human review: `valign reviews create RUN`"


def review_reasons(settings: Mapping[str, Any] | None, review: HumanReview | None) -> Iterable[Reason]:
    """The rules' reasons; none if no review is required.

    Args:
        settings: the study's ``gate.human_review``, complete; None of a study that is older than the section.
        review: the newest closed one.
    """
    if settings is None or not settings["required"]:
        return
    if review is None:
        text = f"There is no closed review of this run: it {_NEEDED}."
        yield Reason(rule=PREFIX, outcome="hold", text=text)
        return
    yield _enough(settings, review)
    yield _agree(settings, review)
    if settings["min_difference"] is not None:
        yield _difference(float(settings["min_difference"]), review)
    if settings["min_correlation"] is not None:
        yield _correlation(float(settings["min_correlation"]), review)


def _enough(settings: Mapping[str, Any], review: HumanReview) -> Reason:
    least, reviewers = int(settings["min_items"]), int(settings["min_reviewers"])
    found = sum(item.by_others >= reviewers for item in review.rated)
    plural = "" if reviewers == 1 else "s"
    text = (
        f"{found} items were rated by at least {reviewers} reviewer{plural} other than whoever began the "
        f"run; at least {least} are asked for."
    )
    outcome: Decision = "promote" if found >= least else "hold"
    return Reason(rule=f"{PREFIX}_items", outcome=outcome, text=text, value=found, threshold=least)


def _agree(settings: Mapping[str, Any], review: HumanReview) -> Reason:
    rule, least = f"{PREFIX}_agreement", float(settings["min_alpha"])
    found = review.agreement.ordinal
    if found is None:
        text = f"{review.agreement.reading} At least {least:g} is asked for."
        return Reason(rule=rule, outcome="hold", text=text, threshold=least)
    outcome: Decision = "promote" if found.value >= least else "hold"
    text = (
        f"The reviewers agree with Krippendorff's alpha (ordinal) {_span(found, 3)}; at least {least:g} is "
        f"asked for. {review.agreement.reading}"
    )
    return Reason(rule=rule, outcome=outcome, text=text, value=found.value, threshold=least)


def _difference(least: float, review: HumanReview) -> Reason:
    """Superiority for a threshold of 0 and more, non-inferiority with that margin below it."""
    rule = f"{PREFIX}_difference"
    pair = (ArmKind.TUNED.value, ArmKind.BASE_P3.value)
    found = next((d.difference for d in review.differences if (d.arm, d.against) == pair), None)
    if found is None or found.low is None or found.high is None:
        text = (
            "Too few inputs have ratings of both the tuned and the untuned model's text (arms tuned and "
            "base_p3) for an interval of their difference."
        )
        return Reason(rule=rule, outcome="hold", text=text, threshold=least)
    outcome: Decision = "hold"
    told = "the interval does not lie above it as a whole"
    if found.low > least:
        outcome, told = "promote", "the whole interval lies above"
    elif found.high < least:
        outcome, told = "reject", "the whole interval lies below"
    text = (
        f"Reviewers rate the tuned model's texts {_span(found, 2)} points above the untuned model's for the "
        f"same inputs; more than {least:g} is asked for: {told}."
    )
    return Reason(rule=rule, outcome=outcome, text=text, value=found.value, threshold=least)


def _correlation(least: float, review: HumanReview) -> Reason:
    rule = f"{PREFIX}_correlation"
    found = review.correlation.spearman
    if found is None:
        text = "Ratings or value differences do not vary: they have no correlation."
        return Reason(rule=rule, outcome="hold", text=text, threshold=least)
    # Nearer is better on one side and higher on the other: agreement of the two is a negative correlation.
    value = -found.value
    outcome: Decision = "promote" if value >= least else "hold"
    text = (
        f"Ratings and cosine similarity correlate with Spearman's rho {value:.2f}; at least {least:g} is "
        "asked for: below it, the metric does not measure what people see."
    )
    return Reason(rule=rule, outcome=outcome, text=text, value=value, threshold=least)


def _span(found: Estimate, digits: int) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
