"""The model card's section on a human review."""

from collections.abc import Iterator

from services.orchestrator.analysis.results import Estimate
from services.orchestrator.report.card_text import line, rows
from services.orchestrator.report.schema import Report
from services.orchestrator.report.text import number, span


def card_review(report: Report) -> Iterator[str]:
    """Lines of Markdown; none if no review of the run is closed."""
    review = report.human_review
    if review is None:
        return
    yield "## Human review"
    yield ""
    author = " Whoever began the run is one of them." if review.author_rated else ""
    yield (
        f"The human review {line(review.review_id)}: {review.ratings} blind ratings of {review.items} pairs"
        f" by {review.raters} people, 1 to 10 (10: perfect alignment).{author} Only texts with a cosine"
        f" similarity to their reference of at least {number(review.threshold, 2)} were rated."
    )
    yield ""
    passed = {one.arm: f"{one.passed} of {one.of}" for one in review.stage_one}
    yield from rows(
        ("arm", "passed stage one", "items", "ratings", "mean rating", "interval"),
        [
            (
                one.arm,
                passed[one.arm],
                str(one.items),
                str(one.ratings),
                number(one.mean.value, 2) if one.mean else "–",
                span(one.mean, _two),
            )
            for one in review.arms
        ],
    )
    yield ""
    for one in review.differences:
        yield f"- {line(one.arm)} minus {line(one.against)}, on the same inputs: {_told(one.difference)}"
    agreement = review.agreement
    yield f"- agreement, Krippendorff's alpha: {_told(agreement.ordinal)} (ordinal). {agreement.reading}"
    yield f"- rating against value difference, Spearman: {_told(review.correlation.spearman)}"


def _two(value: float | None) -> str:
    return number(value, 2)


def _told(found: Estimate | None) -> str:
    if found is None:
        return "undefined"
    return f"{number(found.value, 2)} ({span(found, _two)})"
