"""The figure of a human review: each item's mean rating against its value difference."""

from collections.abc import Mapping

from markupsafe import Markup

from services.orchestrator.analysis.human_review import HIGHEST_RATING, LOWEST_RATING, HumanReview
from services.orchestrator.report import canvas, svg

_MARKS = {
    "original": ("o", svg.BEFORE),
    "base_p3": ("s", svg.BASE_P3),
    "tuned": ("D", svg.AFTER),
}
_OTHER_MARK = ("^", svg.MUTED)
_HEIGHT_PT = 300.0


def scatter(review: HumanReview, titles: Mapping[str, str]) -> Markup | None:
    """Marks by arm, told by form and colour; None without a rating. ``titles``: what people read, by kind."""
    if not review.rated:
        return None
    labels = svg.Labels()
    figure, axes = canvas.panel(_HEIGHT_PT, left_pt=40, right_pt=10, top_pt=30, bottom_pt=36)
    axes.grid(color=svg.GRID, linewidth=0.7)
    from matplotlib.lines import Line2D

    handles = []
    for arm in dict.fromkeys(one.arm for one in review.rated):
        marker, color = _MARKS.get(arm, _OTHER_MARK)
        mine = [one for one in review.rated if one.arm == arm]
        axes.plot(
            [one.metric for one in mine], [one.rating for one in mine], linestyle="", marker=marker,
            markersize=6, color=color, markeredgecolor=svg.PAGE, markeredgewidth=0.8, alpha=0.85,
        )  # fmt: skip
        name = labels.put(titles.get(arm, arm))
        handles.append(Line2D([], [], linestyle="", marker=marker, color=color, markersize=7, label=name))
    axes.set_ylim(LOWEST_RATING - 0.5, HIGHEST_RATING + 0.5)
    axes.set_yticks(range(LOWEST_RATING, HIGHEST_RATING + 1))
    axes.set_xlabel(labels.put("value difference to the reference text (left = nearer)"))
    axes.yaxis.label.set(color=svg.TEXT, fontsize=canvas.SMALL_PT)
    axes.set_ylabel(labels.put("mean rating"))
    canvas.legend(figure, handles, _HEIGHT_PT, ncols=3)
    title = "Scatter: mean rating of each item against its value difference, by arm."
    return svg.to_inline_svg(figure, labels, name="review", title=title)
