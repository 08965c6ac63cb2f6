"""Where things stand in a figure: sizes in points, one width for the whole page."""

from typing import TYPE_CHECKING, Any

from services.orchestrator.report import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PT = 560.0
FONT_PT = 9.0
SMALL_PT = 8.0


def blank(height_pt: float) -> "Figure":
    """A figure of the page's width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_PT / 72, height_pt / 72))


def axes_at(
    figure: "Figure", height_pt: float, left_pt: float, top_pt: float, width_pt: float, tall_pt: float
) -> "Axes":
    """Axes whose upper left corner lies at (left, top), with a base line alone."""
    box = (left_pt / WIDTH_PT, 1 - (top_pt + tall_pt) / height_pt, width_pt / WIDTH_PT, tall_pt / height_pt)
    axes = figure.add_axes(box)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(svg.MUTED)
    axes.set_axisbelow(True)
    axes.tick_params(colors=svg.MUTED, labelcolor=svg.TEXT, labelsize=SMALL_PT, length=2.5)
    axes.xaxis.label.set(color=svg.TEXT, fontsize=SMALL_PT)
    return axes


def panel(
    height_pt: float, *, left_pt: float, right_pt: float, top_pt: float, bottom_pt: float
) -> tuple["Figure", "Axes"]:
    """A figure of one panel with these margins."""
    figure = blank(height_pt)
    width_pt = WIDTH_PT - left_pt - right_pt
    return figure, axes_at(figure, height_pt, left_pt, top_pt, width_pt, height_pt - top_pt - bottom_pt)


def heading(axes: "Axes", lines: list[str], weight: str = "normal") -> None:
    """One text a line, lowest line nearest to the panel: matplotlib anchors only single lines."""
    for index, line in enumerate(reversed(lines)):
        axes.annotate(
            line, (0, 1), (0, 5 + 10 * index), xycoords="axes fraction", textcoords="offset points",
            color=svg.TEXT, fontsize=SMALL_PT, weight=weight,
        )  # fmt: skip


def legend(figure: "Figure", handles: list[Any], height_pt: float, ncols: int) -> None:
    """A row of keys at the top of the figure."""
    made = figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0, 1 - 2 / height_pt), ncols=ncols, frameon=False,
        fontsize=SMALL_PT, labelcolor=svg.TEXT, borderpad=0.1, handlelength=2.4, columnspacing=1.8,
    )  # fmt: skip
    made.set_in_layout(False)
