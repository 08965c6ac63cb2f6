"""The value space as a radar: ten axes from -1 (centre) to +1 (rim), one outline an arm, and the target.

Drawn as SVG of our own: it follows the page's colours through CSS variables and needs no fonts. What the
evaluator may not speak of has a broken axis and no point: a gap, never a 0. ``radar_table`` says the same
in numbers.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from services.orchestrator.analysis.values.results import ArmVector, ValueDimension, ValueSpace, ValueVector
from services.orchestrator.report.text import columns, number, shorten

_WIDTH, _HEIGHT = 560.0, 430.0
_CENTRE_X, _CENTRE_Y, _RIM = 280.0, 222.0, 150.0
_KEY_Y = 14.0
_FONT = 12
_LETTER = 5.6  # width of a letter of the key, about
# Colour and mark by kind of arm; the marks tell them apart without colour.
_LOOKS: Mapping[str, tuple[str, str, str]] = {
    "original": ("var(--before)", "circle", ""),
    "aligned": ("var(--reference)", "square", "7 3"),
    "base_p3": ("var(--base-p3)", "triangle", "3 2"),
    "tuned": ("var(--after)", "diamond", ""),
}


def radar_svg(space: ValueSpace, topic: str | None = None) -> str:
    """The radar of all topics together, or of one topic (its id); "" if there is nothing to draw."""
    arms = _vectors(space, topic)
    if not arms or not any(dimension.spoken for dimension in space.dimensions):
        return Markup("")
    about = f"topic {topic}" if topic else "all topics"
    title = f"Radar: mean scores of the ten values, {about}. The table below has the numbers."
    parts = [_grid(space.dimensions), _target(space.dimensions)]
    parts += [_outline(space.dimensions, vector, arm.kind) for arm, vector in arms]
    parts += [_names(space.dimensions), _key([arm for arm, _ in arms])]
    return Markup(  # noqa: S704 (texts are escaped below)
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
        f'xmlns="http://www.w3.org/2000/svg" font-size="{_FONT}">{"".join(parts)}</svg>'
    )


def radar_table(space: ValueSpace, topic: str | None = None) -> str:
    """The radar's numbers as an HTML table, for those who cannot see it; "" if there is nothing to show."""
    arms = _vectors(space, topic)
    if not arms:
        return Markup("")
    heads = "".join(f'<th scope="col" class="n">{escape(arm.title)}</th>' for arm, _ in arms)
    rows = []
    for dimension in space.dimensions:
        cells = "".join(_cell(vector, dimension) for _, vector in arms)
        rows.append(
            f'<tr><th scope="row">{escape(dimension.title)}</th>'
            f'<td class="n">{number(dimension.target, 1)}</td>'
            f'{cells}<td class="n">{escape(_trust(dimension))}</td></tr>'
        )
    last = "".join(
        f'<td class="n">{number(vector.distance.value) if vector.distance else "–"}</td>'
        for _, vector in arms
    )
    return Markup(  # noqa: S704 (texts are escaped above)
        '<div class="scroll" tabindex="0"><table><caption><span>Mean score by value (+1 important, 0 no '
        "connection, −1 opposed), with its interval. Agreement is Cohen’s kappa with held-out labels."
        f'</span></caption><thead><tr><th scope="col">Value</th><th scope="col" class="n">Target</th>{heads}'
        f'<th scope="col" class="n">Agreement</th></tr></thead><tbody>{"".join(rows)}'
        f'<tr class="total"><th scope="row">Distance to the target</th><td></td>{last}<td></td></tr>'
        "</tbody></table></div>"
    )


def _vectors(space: ValueSpace, topic: str | None) -> list[tuple[ArmVector, ValueVector]]:
    if topic is None:
        return [(arm, arm.pooled) for arm in space.arms]
    return [(arm, arm.topics[topic]) for arm in space.arms if topic in arm.topics]


def _place(axis: int, axes: int, score: float, beyond: float = 0.0) -> tuple[float, float]:
    angle = 2 * math.pi * axis / axes - math.pi / 2
    radius = (score + 1) / 2 * _RIM + beyond
    return _CENTRE_X + radius * math.cos(angle), _CENTRE_Y + radius * math.sin(angle)


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _grid(dimensions: Sequence[ValueDimension]) -> str:
    axes = len(dimensions)
    rings = []
    for score in (-0.5, 0.0, 0.5, 1.0):
        style = "stroke:var(--muted);stroke-width:1.2" if score == 0 else "stroke:var(--grid);stroke-width:1"
        places = [_place(axis, axes, score) for axis in range(axes)]
        rings.append(f'<polygon points="{_points(places)}" style="fill:none;{style}"/>')
        x, y = _place(0, axes, score)
        rings.append(
            f'<text x="{x + 4:.1f}" y="{y - 3:.1f}" font-size="10" style="fill:var(--muted)">'
            f"{number(score, 1)}</text>"
        )
    for axis, dimension in enumerate(dimensions):
        x, y = _place(axis, axes, 1.0)
        broken = "" if dimension.spoken else ";stroke-dasharray:2 5"
        rings.append(
            f'<line x1="{_CENTRE_X:g}" y1="{_CENTRE_Y:g}" x2="{x:.1f}" y2="{y:.1f}" '
            f'style="stroke:var(--grid);stroke-width:1{broken}"/>'
        )
    return "".join(rings)


def _target(dimensions: Sequence[ValueDimension]) -> str:
    places = [_place(axis, len(dimensions), one.target) for axis, one in enumerate(dimensions)]
    return (
        f'<polygon points="{_points(places)}" '
        'style="fill:var(--muted);fill-opacity:.1;stroke:var(--muted);stroke-width:1;stroke-dasharray:1 3"/>'
    )


def _outline(dimensions: Sequence[ValueDimension], vector: ValueVector, kind: str) -> str:
    colour, mark, dashes = _LOOKS.get(kind, ("var(--text)", "circle", ""))
    axes = len(dimensions)
    places: dict[int, tuple[float, float]] = {}
    for axis, dimension in enumerate(dimensions):
        estimate = vector.scores.get(dimension.value)
        if estimate is not None:
            places[axis] = _place(axis, axes, estimate.value)
    dash = f";stroke-dasharray:{dashes}" if dashes else ""
    drawn = []
    for axis in places:
        following = (axis + 1) % axes
        if following in places:
            (x1, y1), (x2, y2) = places[axis], places[following]
            drawn.append(
                f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                f'style="stroke:{colour};stroke-width:1.8{dash}"/>'
            )
    drawn += [_mark(mark, colour, x, y) for x, y in places.values()]
    return f"<g>{''.join(drawn)}</g>"


def _mark(mark: str, colour: str, x: float, y: float) -> str:
    style = f"fill:{colour};stroke:var(--card);stroke-width:1"
    if mark == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" style="{style}"/>'
    corners = {
        "square": ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        "triangle": ((0, -4.8), (4.4, 3.4), (-4.4, 3.4)),
        "diamond": ((0, -5.2), (5.2, 0), (0, 5.2), (-5.2, 0)),
    }[mark]
    return f'<polygon points="{_points([(x + dx, y + dy) for dx, dy in corners])}" style="{style}"/>'


def _names(dimensions: Sequence[ValueDimension]) -> str:
    made = []
    for axis, dimension in enumerate(dimensions):
        x, y = _place(axis, len(dimensions), 1.0, beyond=14)
        anchor = "middle" if abs(x - _CENTRE_X) < 20 else "start" if x > _CENTRE_X else "end"
        drop = 0 if y < _CENTRE_Y - 100 else 8 if y > _CENTRE_Y + 100 else 4
        colour = "var(--text)" if dimension.spoken else "var(--muted)"
        made.append(
            f'<text x="{x:.1f}" y="{y + drop:.1f}" text-anchor="{anchor}" style="fill:{colour}">'
            f"{escape(dimension.title)}</text>"
        )
        if not dimension.spoken:
            made.append(
                f'<text x="{x:.1f}" y="{y + drop + 12:.1f}" text-anchor="{anchor}" font-size="10" '
                'style="fill:var(--muted)">too few labels</text>'
            )
    return "".join(made)


def _key(arms: Sequence[ArmVector]) -> str:
    made = []
    x = 8.0
    for arm in arms:
        colour, mark, _ = _LOOKS.get(arm.kind, ("var(--text)", "circle", ""))
        title = shorten(arm.title, 22)
        made.append(_mark(mark, colour, x, _KEY_Y))
        made.append(
            f'<text x="{x + 9:.1f}" y="{_KEY_Y + 4:g}" font-size="11" style="fill:var(--text)">'
            f"{escape(title)}</text>"
        )
        x += 28 + _LETTER * columns(title)
    made.append(
        f'<rect x="{x - 5:.1f}" y="{_KEY_Y - 4:g}" width="10" height="8" '
        'style="fill:var(--muted);fill-opacity:.15;stroke:var(--muted);stroke-dasharray:1 3"/>'
        f'<text x="{x + 9:.1f}" y="{_KEY_Y + 4:g}" font-size="11" style="fill:var(--text)">target</text>'
    )
    return "".join(made)


def _cell(vector: ValueVector, dimension: ValueDimension) -> str:
    estimate = vector.scores.get(dimension.value)
    if estimate is None:
        return '<td class="n">–</td>'
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f' <span class="ci">{number(estimate.low, 2)} to {number(estimate.high, 2)}</span>'
    return f'<td class="n">{number(estimate.value, 2)}{ends}</td>'


def _trust(dimension: ValueDimension) -> str:
    if dimension.standing == "too_few_labels":
        return "too few labels"
    found = dimension.agreement
    if found is None or found.kappa is None:
        return "unknown"
    low, high = found.kappa.low, found.kappa.high
    ends = "" if low is None or high is None else f" ({number(low, 2)} to {number(high, 2)})"
    return f"{number(found.kappa.value, 2)}{ends}"
