"""Figures of the analysis: every arm on one axis with floor and ceiling, and the topics of a contrast."""

from typing import Any

from markupsafe import Markup

from services.orchestrator.analysis.results import Analysis, Contrast, Estimate
from services.orchestrator.report import canvas, svg
from services.orchestrator.report.text import number, span, wrap
from services.orchestrator.report.verdict import ordered_arms

_MARKS: dict[str, tuple[str, str]] = {
    "original": ("o", svg.BEFORE),
    "base_p3": ("o", svg.BASE_P3),
    "base_reference": ("s", svg.BASE_P3),
    "aligned": ("s", svg.REFERENCE),
    "tuned": ("D", svg.AFTER),
    "uniform": ("^", svg.MUTED),
    "shuffled": ("^", svg.MUTED),
    "other": ("^", svg.MUTED),
    "constant": ("X", svg.CONSTANT),
    "copied": ("X", svg.CONSTANT),
}
_OTHER_MARK = ("v", svg.MUTED)
_ROW_PT = 31.0
_LEFT_PT, _RIGHT_PT, _BOTTOM_PT = 176.0, 108.0, 34.0


def forest(analysis: Analysis) -> Markup:
    """Pooled mean of each arm with its interval; floor, register-only level and ceiling as bands."""
    arms = ordered_arms(analysis)
    scale = analysis.scale
    bands: list[tuple[str, Estimate, str, str]] = [
        ("floor", scale.floor, svg.FLOOR, "floor: chance pairing"),
        ("register only", scale.register_only, svg.REGISTER, "right register, wrong subject"),
    ]
    if scale.ceiling is not None:
        bands.append(("ceiling", scale.ceiling, svg.CEILING, "ceiling: reference redrawn"))
    labels = svg.Labels()
    top_pt = 26.0
    height_pt = top_pt + _ROW_PT * len(arms) + _BOTTOM_PT
    figure, axes = canvas.panel(
        height_pt, left_pt=_LEFT_PT, right_pt=_RIGHT_PT, top_pt=top_pt, bottom_pt=_BOTTOM_PT
    )
    _axis(axes, len(arms), [arm.mean for arm in arms] + [band for _, band, _, _ in bands], zero=False)
    axes.set_xlabel(labels.put("value difference to the reference texts (left = nearer)"))
    for _, band, color, _ in bands:
        _band(axes, band, color)
    for row, arm in enumerate(arms):
        marker, color = _MARKS.get(arm.kind, _OTHER_MARK)
        bold = arm.kind == "tuned"
        _row(axes, labels, row, arm.title, arm.mean, marker, color, bold=bold)
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=color, alpha=0.5, label=text) for _, _, color, text in bands]
    canvas.legend(figure, handles, height_pt, ncols=3)
    title = "Forest plot: each arm's value difference with its interval, and the floor and ceiling bands. "
    return svg.to_inline_svg(
        figure, labels, name="forest", title=title + "The table below has the same numbers."
    )


def topics(contrast: Contrast, titles: dict[str, str]) -> Markup | None:
    """Difference against - arm by topic with intervals, the pooled one on top; None without topics."""
    if not contrast.topics:
        return None
    labels = svg.Labels()
    rows = [("All topics (pooled): primary", contrast.difference, True)]
    rows += [(titles.get(entry.topic, entry.topic), entry.difference, False) for entry in contrast.topics]
    top_pt = 8.0
    height_pt = top_pt + _ROW_PT * len(rows) + _BOTTOM_PT
    figure, axes = canvas.panel(
        height_pt, left_pt=_LEFT_PT, right_pt=_RIGHT_PT, top_pt=top_pt, bottom_pt=_BOTTOM_PT
    )
    _axis(axes, len(rows), [estimate for _, estimate, _ in rows], zero=True)
    axes.axvline(0, color=svg.MUTED, linewidth=1.2)
    axes.set_xlabel(labels.put("untuned − tuned, same prompt (right of 0 = the tuned model lies nearer)"))
    for row, (title, estimate, pooled) in enumerate(rows):
        marker, color = ("D", svg.AFTER) if pooled else ("o", svg.AFTER)
        _row(axes, labels, row, title, estimate, marker, color, bold=pooled)
    title = "Forest plot: how much nearer the tuned model lies, by topic, with intervals. "
    return svg.to_inline_svg(
        figure, labels, name="topics", title=title + "The table below has the same numbers."
    )


def _axis(axes: Any, rows: int, estimates: list[Estimate], *, zero: bool) -> None:
    ends = [e for one in estimates for e in (one.value, one.low, one.high) if e is not None]
    low, high = min(ends), max(ends)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = max(0.02, (high - low) * 0.06)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(rows * _ROW_PT, 0)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=7)
    axes.grid(axis="x", color=svg.GRID, linewidth=0.7)


def _band(axes: Any, band: Estimate, color: str) -> None:
    low, high = axes.get_xlim()
    least = (high - low) * 0.004
    left = band.low if band.low is not None else band.value
    right = band.high if band.high is not None else band.value
    left, right = min(left, band.value - least), max(right, band.value + least)
    axes.axvspan(left, right, color=color, alpha=0.32, linewidth=0, zorder=0.5)
    axes.axvline(band.value, color=color, linewidth=1.3, linestyle=(0, (4, 2)), zorder=0.6)


def _row(
    axes: Any,
    labels: svg.Labels,
    row: int,
    title: str,
    estimate: Estimate,
    marker: str,
    color: str,
    *,
    bold: bool,
) -> None:
    y = (row + 0.5) * _ROW_PT
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [y, y], color=color, linewidth=2.6 if bold else 1.6)
        for end in (estimate.low, estimate.high):
            axes.plot([end, end], [y - 4, y + 4], color=color, linewidth=1.3)
    axes.plot(
        estimate.value, y, marker=marker, markersize=9 if bold else 7, color=color,
        markeredgecolor=svg.PAGE, markeredgewidth=1.0, zorder=4,
    )  # fmt: skip
    weight = "bold" if bold else "normal"
    lines = wrap(title, 32, 2)
    for place, line in enumerate(lines):
        axes.annotate(
            labels.put(line), (0, y), (-_LEFT_PT + 2, (len(lines) - 1) * 5.5 - place * 11 - 3),
            xycoords=("axes fraction", "data"), textcoords="offset points", color=svg.TEXT,
            fontsize=canvas.FONT_PT, weight=weight,
        )  # fmt: skip
    text = number(estimate.value)
    with_span = f"{text}  ({span(estimate)})" if estimate.low is not None else text
    axes.annotate(
        labels.put(with_span), (1, y), (6, -3), xycoords=("axes fraction", "data"),
        textcoords="offset points", color=svg.TEXT, fontsize=canvas.SMALL_PT, weight=weight,
    )  # fmt: skip
