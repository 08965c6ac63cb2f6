"""Guards and matrix as the page draws them: places on a scale, in percent of its width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from services.orchestrator.analysis.results import Analysis, Guard, MatrixCell, Measure
from services.orchestrator.report.text import measure as shown

STATUSES = {
    "pass": ("✓", "Pass", "good"),
    "warn": ("!", "Warning", "warn"),
    "fail": ("✕", "Fail", "bad"),
    "not_measured": ("–", "Not measured", "plain"),
}

# Measures of a guard that stand open on the page; the others are folded.
_OPEN = 4


@dataclass(frozen=True, slots=True)
class Bullet:
    """A measure on a line from 0 to 100: its value, interval, threshold and the side that passes.

    Everything is a place in percent; None where the measure has no such number.
    """

    value: float
    interval: tuple[float, float] | None
    threshold: float | None
    passing: tuple[float, float] | None


def bullet(measure: Measure) -> Bullet | None:
    """None for a measure without a value, or with nothing to hold it against."""
    if measure.value is None:
        return None
    if measure.threshold is None and (measure.low is None or measure.high is None):
        return None
    numbers = [n for n in (measure.value, measure.low, measure.high, measure.threshold) if n is not None]
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    room = (high - low or 1.0) * 0.12
    low, high = (low - room if low < 0 else 0.0), high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    interval = None
    if measure.low is not None and measure.high is not None:
        interval = (place(measure.low), place(measure.high))
    threshold = place(measure.threshold) if measure.threshold is not None else None
    passing = None
    if threshold is not None and measure.better != "neither":
        passing = (threshold, 100.0) if measure.better == "higher" else (0.0, threshold)
    return Bullet(place(measure.value), interval, threshold, passing)


def told(measure: Measure) -> str:
    """A measure in words: value, interval, what is asked. Counts are told as counts."""
    numbers = [n for n in (measure.value, measure.low, measure.high, measure.threshold) if n is not None]
    counts = all(n == round(n) for n in numbers) and max(numbers, default=0.0) >= 2

    def say(value: float) -> str:
        return f"{value:.0f}" if counts else shown(value)

    text = say(measure.value) if measure.value is not None else "not measured"
    if measure.low is not None and measure.high is not None:
        text += f" ({say(measure.low)} to {say(measure.high)})"
    if measure.threshold is not None:
        asked = {"higher": "at least", "lower": "at most", "neither": "threshold"}[measure.better]
        text += f", {asked} {say(measure.threshold)}"
    return text


Row: TypeAlias = tuple[Measure, str, Bullet | None]


@dataclass(frozen=True, slots=True)
class Card:
    """One guard: its measures with their words and their places; ``more`` are folded away."""

    guard: Guard
    icon: str
    word: str
    tone: str
    rows: tuple[Row, ...]
    more: tuple[Row, ...]


def cards(analysis: Analysis) -> tuple[Card, ...]:
    """The guards, those that failed first."""
    order = {"fail": 0, "warn": 1, "not_measured": 2, "pass": 3}
    guards = sorted(analysis.guards, key=lambda guard: order[guard.status])
    return tuple(_card(guard) for guard in guards)


def _card(guard: Guard) -> Card:
    """Open are the first measures that are held against something, those that miss it before the others."""
    held = sorted((m for m in guard.measures if m.threshold is not None), key=lambda m: not missed(m))
    first, rest = held[:_OPEN], held[_OPEN:] + [m for m in guard.measures if m.threshold is None]
    if not first:
        first, rest = rest[:_OPEN], rest[_OPEN:]
    icon, word, tone = STATUSES[guard.status]
    return Card(guard, icon, word, tone, _rows(first), _rows(rest))


def missed(measure: Measure) -> bool:
    """Whether the value lies on the wrong side of its threshold."""
    if measure.value is None or measure.threshold is None or measure.better == "neither":
        return False
    below = measure.value < measure.threshold
    return below if measure.better == "higher" else measure.value > measure.threshold


def _rows(measures: Sequence[Measure]) -> tuple[Row, ...]:
    return tuple((measure, told(measure), bullet(measure)) for measure in measures)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the heat map. ``shade`` in [0, 1]: 1 is the nearest of all cells."""

    cell: MatrixCell
    shade: float
    diagonal: bool
    nearest: bool


def heat(analysis: Analysis) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[Cell | None, ...]], ...]]:
    """Columns (measured against), and by row (trained on) its cells; ``nearest`` is by column."""
    columns = tuple(dict.fromkeys(cell.measured_against for cell in analysis.matrix))
    rows = tuple(dict.fromkeys(cell.trained_on for cell in analysis.matrix))
    rows = tuple(sorted(rows, key=lambda row: columns.index(row) if row in columns else len(columns)))
    means = [cell.mean.value for cell in analysis.matrix]
    if not means:
        return (), ()
    low, high = min(means), max(means)
    places = {(cell.trained_on, cell.measured_against): cell for cell in analysis.matrix}
    best = {
        column: min(c.mean.value for c in analysis.matrix if c.measured_against == column)
        for column in columns
    }

    def at(row: str, column: str) -> Cell | None:
        cell = places.get((row, column))
        if cell is None:
            return None
        shade = (high - cell.mean.value) / (high - low) if high > low else 0.0
        return Cell(cell, round(shade, 3), row == column, cell.mean.value == best[column])

    return columns, tuple((row, tuple(at(row, column) for column in columns)) for row in rows)


def diagonal_wins(analysis: Analysis) -> bool | None:
    """Whether in each column with a diagonal cell that cell is the nearest; None without one."""
    _, rows = heat(analysis)
    diagonal = [cell for _, cells in rows for cell in cells if cell is not None and cell.diagonal]
    return all(cell.nearest for cell in diagonal) if diagonal else None
