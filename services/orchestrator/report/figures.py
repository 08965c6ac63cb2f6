"""The report's figures: topic bars (the paper's 2-5), convergence (S1-S2), the MDS plane (6-9)."""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from services.orchestrator.report import canvas, svg
from services.orchestrator.report.schema import Projection, Report, Topic
from services.orchestrator.report.text import number, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bars(report: Report) -> Markup:
    """Value difference by topic: before, base+P3, after; the constant sentence as a line."""
    labels = svg.Labels()
    rows: list[tuple[str, Any]] = [("All topics (mean)", report.overall)] if len(report.topics) > 1 else []
    rows += [(topic.title, topic) for topic in by_rank(report)]
    series = [
        ("before", "before (base, first prompt)", svg.BEFORE, svg.BEFORE, ""),
        ("base_p3", "base, third prompt (untuned)", svg.BASE_P3_PALE, svg.BASE_P3, "/////"),
        ("after", "after (tuned, third prompt)", svg.AFTER_PALE, svg.AFTER, "||||"),
    ]
    series = [entry for entry in series if any(getattr(row, entry[0]) is not None for _, row in rows)]
    bar_pt, label_pt, gap_pt = 10.0, 13.0, 11.0
    slot_pt = label_pt + bar_pt * len(series) + gap_pt
    top_pt, bottom_pt, right_pt = 44.0, 36.0, 44.0
    height_pt = top_pt + slot_pt * len(rows) + bottom_pt
    figure, axes = canvas.panel(height_pt, left_pt=6, right_pt=right_pt, top_pt=top_pt, bottom_pt=bottom_pt)
    values = [v for _, r in rows for v in (r.before, r.base_p3, r.after, r.constant) if v is not None]
    limit = max(0.05, *values) * 1.04
    axes.set_xlim(0, limit)
    axes.set_ylim(slot_pt * len(rows), 0)
    axes.set_yticks([])
    axes.grid(axis="x", color=svg.GRID, linewidth=0.7)
    axes.set_xlabel(
        labels.put("mean value difference (1 \u2212 cosine; 0 = same direction as the reference)")
    )
    for position, (title, row) in enumerate(rows):
        start = position * slot_pt + gap_pt / 2
        line = wrap(title, 78, 1)[0]
        weight = "bold" if row is report.overall else "normal"
        axes.text(
            0,
            start + label_pt - 3.5,
            labels.put(line),
            color=svg.TEXT,
            fontsize=canvas.FONT_PT,
            weight=weight,
        )
        for index, (field, _, face, edge, hatch) in enumerate(series):
            value = getattr(row, field)
            if value is None:
                continue
            y = start + label_pt + bar_pt * (index + 0.5)
            axes.barh(y, value, bar_pt * 0.8, color=face, edgecolor=edge, linewidth=0.8, hatch=hatch)
            axes.text(
                limit * 1.012,
                y,
                labels.put(number(value)),
                color=svg.TEXT,
                fontsize=canvas.SMALL_PT,
                va="center",
            )
        if row.constant is not None:
            span = (start + label_pt, start + label_pt + bar_pt * len(series) + 1)
            axes.plot([row.constant] * 2, span, color=svg.PAGE, linewidth=3.6)
            axes.plot([row.constant] * 2, span, color=svg.CONSTANT, linewidth=1.8, linestyle=(0, (3, 1.2)))
            axes.plot(row.constant, span[1] + 2, marker="^", markersize=5, color=svg.CONSTANT, clip_on=False)
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=face, edgecolor=edge, hatch=hatch, label=text)
        for _, text, face, edge, hatch in series
    ]
    if any(row.constant is not None for _, row in rows):
        mark: dict[str, Any] = {
            "color": svg.CONSTANT,
            "linestyle": (0, (3, 1.2)),
            "marker": "^",
            "markersize": 5,
        }
        handles.append(Line2D([], [], label="one constant sentence", **mark))
    canvas.legend(figure, handles, height_pt, ncols=2)
    title = "Bars: mean value difference by topic, before and after realignment."
    return svg.to_inline_svg(figure, labels, name="bars", title=title)


def convergence(report: Report) -> Markup | None:
    """Validation mean over the iterations, and one small panel a topic; None without iterations."""
    if len(report.iterations) < 2:
        return None
    labels = svg.Labels()
    topics = by_rank(report) if len(report.topics) > 1 else []
    across = 3
    down = -(-len(topics) // across)
    main_pt, cell_pt, top_pt, bottom_pt, left_pt, gap_pt = 170.0, 112.0, 24.0, 34.0, 34.0, 20.0
    height_pt = top_pt + main_pt + bottom_pt + down * cell_pt
    figure = canvas.blank(height_pt)
    x = [entry.iteration for entry in report.iterations]
    means = [entry.validation_mean for entry in report.iterations]
    every = means + [value for entry in report.iterations for value in entry.validation_means.values()]
    limits = (0.0, max(0.05, *every) * 1.3)

    main = canvas.axes_at(figure, height_pt, left_pt, top_pt, canvas.WIDTH_PT - left_pt - 10, main_pt)
    _scale(main, x, limits, ticks=7)
    main.plot(x, means, color=svg.AFTER, linewidth=2.2, marker="D", markersize=5)
    main.plot(x[0], means[0], marker="o", markersize=7, color=svg.BEFORE)
    for at, value in zip(x, means, strict=True):
        main.annotate(
            labels.put(number(value)), (at, value), (0, 10), textcoords="offset points", ha="center",
            color=svg.TEXT, fontsize=canvas.SMALL_PT,
        )  # fmt: skip
    if report.best_iteration in x:
        best = means[x.index(report.best_iteration)]
        main.plot(
            report.best_iteration, best, marker="o", markersize=14, fillstyle="none", color=svg.CONSTANT
        )
        main.annotate(
            labels.put("best"), (report.best_iteration, best), (0, -18), textcoords="offset points",
            ha="center", color=svg.TEXT, fontsize=canvas.SMALL_PT, weight="bold",
        )  # fmt: skip
    main.set_xlabel(labels.put("iteration (0 = before training)"))
    canvas.heading(main, [labels.put("Mean over the topics, validation split")], weight="bold")

    cell_width_pt = (canvas.WIDTH_PT - 10 - left_pt + gap_pt) / across
    for index, topic in enumerate(topics):
        row, column = divmod(index, across)
        axes = canvas.axes_at(
            figure, height_pt, left_pt + column * cell_width_pt,
            top_pt + main_pt + bottom_pt + row * cell_pt + 30, cell_width_pt - gap_pt, cell_pt - 50,
        )  # fmt: skip
        _scale(axes, x, limits, ticks=4)
        if column:
            axes.tick_params(labelleft=False)
        axes.plot(x, means, color=svg.MUTED, linewidth=1, linestyle=(0, (2, 2)))
        own = [
            (e.iteration, e.validation_means[topic.id])
            for e in report.iterations
            if topic.id in e.validation_means
        ]
        canvas.heading(axes, [labels.put(line) for line in wrap(topic.title, 32, 2)])
        if not own:
            continue
        axes.plot(*zip(*own, strict=True), color=svg.AFTER, linewidth=1.6, marker="D", markersize=3.2)
        for at, value in (own[0], own[-1]):
            below = value < means[x.index(at)]
            axes.annotate(
                labels.put(number(value, 2)), (at, value), (0, -11 if below else 6), ha="center",
                textcoords="offset points", color=svg.TEXT, fontsize=7,
            )  # fmt: skip
    title = "Lines: mean value difference on the validation split over the iterations."
    return svg.to_inline_svg(figure, labels, name="convergence", title=title)


def plane(projection: Projection | None, numbers: dict[str, int]) -> Markup | None:
    """Circles original, squares reference, diamonds realigned, each with its topic's number."""
    if projection is None or not projection.points:
        return None
    labels = svg.Labels()
    marks = {"original": ("o", svg.BEFORE), "reference": ("s", svg.REFERENCE), "realigned": ("D", svg.AFTER)}
    height_pt = 400.0
    figure, axes = canvas.panel(height_pt, left_pt=40, right_pt=10, top_pt=30, bottom_pt=36)
    axes.grid(color=svg.GRID, linewidth=0.7)
    places = {(point.topic, point.kind): (point.x, point.y) for point in projection.points}
    for topic in numbers:
        start, end = places.get((topic, "original")), places.get((topic, "realigned"))
        goal = places.get((topic, "reference"))
        if start and end and start != end:
            style = {"arrowstyle": "-|>", "color": svg.MUTED, "linewidth": 1, "shrinkA": 8, "shrinkB": 9}
            axes.annotate("", end, start, arrowprops=style)
        if goal and (tail := end or start):
            axes.plot(*zip(tail, goal, strict=True), color=svg.MUTED, linewidth=0.9, linestyle=(0, (1, 2.5)))
    for point in projection.points:
        if point.topic not in numbers:
            continue
        marker, color = marks[point.kind]
        size = 10 if marker == "D" else 12
        axes.plot(
            point.x, point.y, marker=marker, markersize=size, color=color, markeredgecolor=svg.PAGE,
            markeredgewidth=1.2, zorder=3,
        )  # fmt: skip
        axes.text(
            point.x, point.y, str(numbers[point.topic]), ha="center", va="center_baseline", fontsize=7,
            color=svg.ON_MARK, weight="bold", zorder=4,
        )  # fmt: skip
    _equal_scale(axes, [point.x for point in projection.points], [point.y for point in projection.points])
    axes.set_xlabel(labels.put("cosine distance, as well as two dimensions can keep it"))
    from matplotlib.lines import Line2D

    kinds = [kind for kind in marks if any(point.kind == kind for point in projection.points)]
    handles = [
        Line2D([], [], linestyle="", marker=marks[kind][0], color=marks[kind][1], markersize=8, label=kind)
        for kind in kinds
    ]
    canvas.legend(figure, handles, height_pt, ncols=3)
    title = "Plane: mean embeddings of each topic's original, reference and realigned principles."
    return svg.to_inline_svg(figure, labels, name="plane", title=title)


def by_rank(report: Report) -> list[Topic]:
    """The topics, largest initial difference first."""
    return sorted(report.topics, key=lambda topic: topic.rank)


def _scale(axes: "Axes", iterations: list[int], limits: tuple[float, float], ticks: int) -> None:
    step = max(1, -(-len(iterations) // 12))
    axes.set_xticks(iterations[::step])
    axes.set_xlim(iterations[0] - 0.35, iterations[-1] + 0.35)
    axes.set_ylim(*limits)
    axes.locator_params(axis="y", nbins=ticks)
    axes.grid(axis="y", color=svg.GRID, linewidth=0.7)


def _equal_scale(axes: "Axes", xs: list[float], ys: list[float]) -> None:
    """The same length for the same distance both ways, all points inside, some room around them."""
    box = axes.get_window_extent()
    aspect = box.width / box.height
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    half = max((max(xs) - min(xs)) / aspect, max(ys) - min(ys), 0.1) / 2 * 1.18
    axes.set_xlim(middle_x - half * aspect, middle_x + half * aspect)
    axes.set_ylim(middle_y - half, middle_y + half)
