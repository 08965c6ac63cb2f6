"""A comparison of runs as one page that needs no network, no script and no other file."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.orchestrator.analysis.results import Estimate
from services.orchestrator.report import text

if TYPE_CHECKING:
    from services.orchestrator.comparing import Comparison

_FOLDER = Path(__file__).parent
_LABEL_CHARS = 48
_WIDTH, _LEFT, _RIGHT, _ROW, _GAP = 760.0, 250.0, 90.0, 20.0, 16.0
KINDS = {
    "models": "Several models, one reference set",
    "sets": "One model, several reference sets",
    "models_and_sets": "Several models, several reference sets",
    "repeats": "One model, one reference set",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot with its interval in the figure; places in pixels, the interval's ends None without one."""

    label: str
    shown: str
    y: float
    x: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The marks of one arm under its title."""

    title: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """Every arm of every run on one axis from 0; ``ticks`` are (x, text)."""

    width: float
    height: float
    left: float
    groups: tuple[Group, ...]
    ticks: tuple[tuple[float, str], ...]


def render_comparison(comparison: "Comparison") -> str:
    """The whole page. Names of models and users are shown, escaped and shortened, never interpreted."""
    labels = {run.run_id: text.shorten(run.label, _LABEL_CHARS) for run in comparison.runs}
    return (
        _environment()
        .get_template("comparison.html.jinja")
        .render(
            comparison=comparison,
            title=KINDS[comparison.kind],
            labels=labels,
            figure=_figure(comparison, labels),
            css=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        )
    )


def _figure(comparison: "Comparison", labels: dict[str, str]) -> Figure:
    means = [cell.mean for row in comparison.arms for cell in row.cells]
    largest = max([0.1, *(mean.high or mean.value for mean in means)])
    step = next(step for step in (0.05, 0.1, 0.2, 0.5, 1.0) if largest / step <= 8)
    scale = (_WIDTH - _LEFT - _RIGHT) / largest

    def place(value: float) -> float:
        return round(_LEFT + scale * max(0.0, value), 1)

    groups, y = [], _GAP
    for row in comparison.arms:
        marks = []
        top = y
        for cell in row.cells:
            y += _ROW
            mean = cell.mean
            marks.append(
                Mark(
                    label=labels[cell.run_id],
                    shown=text.number(mean.value),
                    y=y,
                    x=place(mean.value),
                    low=None if mean.low is None else place(mean.low),
                    high=None if mean.high is None else place(mean.high),
                )
            )
        groups.append(Group(row.title, top, tuple(marks)))
        y += _ROW + _GAP
    ticks = tuple((place(step * k), f"{step * k:g}") for k in range(int(largest / step + 1e-9) + 1))
    return Figure(_WIDTH, y + _ROW, _LEFT, tuple(groups), ticks)


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    interval = f" [{text.span(estimate)}]" if estimate.low is not None else ""
    return f"{text.number(estimate.value)}{interval}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=text.number,
        estimate=_estimate,
        p_value=text.p_value,
        short=lambda value: text.shorten(str(value), 160),
    )
    return environment
