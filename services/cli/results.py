"""A finished run's numbers as text, and what they do and do not mean."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.cli.costs import print_cost
from services.cli.display import duration, iteration_cells
from services.cli.output import table
from services.cli.verdict import print_verdict

if TYPE_CHECKING:
    from rich.console import Console

Report = Mapping[str, Any]
COLUMNS = ("before", "base_p3", "after", "reduction", "constant")


def number(value: Any) -> str:
    """Return a value difference with three digits; a dash where it was not measured."""
    return "-" if value is None else f"{value:.3f}"


def percent(value: Any) -> str:
    """Return a reduction (a fraction) as the paper prints it: a fall is negative."""
    return "-" if value is None else f"{-value:+.1%}"


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return before, base under P3, after, reduction and constant sentence as text."""
    return [percent(row.get(name)) if name == "reduction" else number(row.get(name)) for name in COLUMNS]


def meaning(report: Report) -> str:
    """Return one sentence that says what the overall numbers do and do not show.

    Compares the tuned model with a model that always says one constant sentence, and with
    the untuned model under the same prompt: either can move the number with no value learned.
    """
    overall = report.get("overall") or {}
    before, prompted = overall.get("before"), overall.get("base_p3")
    after, constant = overall.get("after"), overall.get("constant")
    if after is None:
        return "The run only measured: nothing was tuned, so these numbers say where the model stands."
    prompt = ""
    if before is not None and prompted is not None:
        prompt = f", and the prompt alone, with no tuning, moves it from {before:.3f} to {prompted:.3f}"
    if constant is None:
        return f"The tuned model scores {after:.3f}{prompt}."
    if constant <= after:
        return (
            f"Always saying one fixed sentence would have scored {constant:.3f} without any training, "
            f"no worse than the tuned model's {after:.3f}{prompt}: "
            "the reduction is not evidence that values moved."
        )
    return (
        f"The tuned model ({after:.3f}) comes nearer to the references than one fixed sentence would "
        f"({constant:.3f}){prompt}; that alone does not show that its principles kept their subject."
    )


def print_report(report: Report, screen: "Console") -> None:
    """Print the verdict where there is one, the paper's table, iterations, cost and how it ended."""
    analysis = report.get("analysis")
    if analysis:
        print_verdict(report, screen)
    topics = [[row.get("title") or row["id"], *cells(row)] for row in report["topics"]]
    rows = [*topics, ["all topics", *cells(report.get("overall") or {})]]
    heads = ["topic", "before", "base, P3", "after", "change", "constant sentence"]
    title = "value difference on the test split (0 = same as the reference)"
    if analysis:
        title = "the paper's own number: one run, one draw, no interval; not the verdict"
    screen.print(table(title, heads, rows, right=5))
    iterations = report.get("iterations") or []
    if iterations:
        best = report.get("best_iteration")
        listed = [
            [*iteration_cells(row), "best" if row.get("iteration") == best else ""] for row in iterations
        ]
        screen.print(table("", ["iteration", "validation difference", "improvement", ""], listed, right=4))
    print_cost(report, screen)
    said = [f"Stopped: {str(report.get('stop_reason')).replace('_', ' ')}."]
    adapter = report.get("adapter")
    if adapter:
        said.append(f"Adapter: {adapter['name']} at {adapter['uri']}")
    timings = report.get("timings_s") or {}
    if timings:
        said.append("Time: " + ", ".join(f"{stage} {duration(s)}" for stage, s in timings.items()))
    if report.get("constant_sentence"):
        said.append(f"Constant sentence: {report['constant_sentence']}")
    if not analysis:
        said += ["", meaning(report)]
    for line in said:
        screen.print(line, markup=False, soft_wrap=True)
