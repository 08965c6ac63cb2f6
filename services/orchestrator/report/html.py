"""report.html: one page that needs no network, no script and no other file."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.orchestrator.analysis.agreement import RELIABLE, TENTATIVE
from services.orchestrator.report import (
    figures,
    figures_arms,
    figures_review,
    panels,
    radar,
    reading,
    text,
    verdict,
)
from services.orchestrator.report.schema import Report

_FOLDER = Path(__file__).parent
_PRINCIPLE_CHARS = 600
_TITLE_CHARS = 160
_SAID_CHARS = 1_200
_STUDY_CHARS = 20_000


def render_html(report: Report) -> str:
    """The whole page. Texts of models and users are shown, escaped and shortened, never interpreted.

    Equal reports give equal pages. Stays under 2 MB: long texts are cut (report.json has them whole).
    """
    report = _with_short_titles(report)
    topics = figures.by_rank(report)
    numbers = {topic.id: topic.rank for topic in topics}
    study = json.dumps(report.study, indent=2, ensure_ascii=False)
    trained = [entry for entry in report.iterations if entry.iteration > 0]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            css=_css(),
            topics=topics,
            titles={topic.id: topic.title for topic in topics},
            numbers=numbers,
            trained=trained,
            only_measured=report.stop_reason in reading.MEASURED_ONLY,
            governance=_stated(report.governance or {}),
            **_analysed(report),
            **_values(report),
            **_review(report),
            summary=reading.summary(report),
            remarks=reading.remarks(report),
            stopped=reading.stopped(report),
            bars=figures.bars(report),
            convergence=figures.convergence(report),
            plane=figures.plane(report.projection, numbers),
            worse=reading.worse,
            study=study[:_STUDY_CHARS],
            study_is_cut=len(study) > _STUDY_CHARS,
            total_s=sum(value for stage, value in report.timings_s.items() if stage != "total"),
        )
    )


def _analysed(report: Report) -> dict[str, Any]:
    """What the parts on verdict, arms and guards show; of a report without an analysis its face alone."""
    shown: dict[str, Any] = {"face": verdict.face(report), "verdict": None, "first": (), "rest": ()}
    analysis = report.analysis
    if analysis is None:
        return shown
    if analysis.verdict is not None:
        shown["verdict"], shown["headline"] = analysis.verdict, verdict.headline(analysis.verdict)
        shown["first"], shown["rest"] = verdict.deciding(analysis.verdict)
    means = {arm.arm: arm.by_topic for arm in analysis.arms}
    titles = {topic.id: topic.title for topic in report.topics}
    columns, rows = panels.heat(analysis)
    return {
        **shown,
        "outcomes": verdict.OUTCOMES,
        "arms": verdict.ordered_arms(analysis),
        "arm_title": lambda name: verdict.arm_title(analysis, name),
        "topic_mean": lambda arm, topic: mean.value if (mean := means.get(arm, {}).get(topic)) else None,
        "primary_sentence": verdict.primary_sentence(analysis),
        "scale_sentence": verdict.scale_sentence(analysis),
        "forest": figures_arms.forest(analysis),
        "topic_forest": figures_arms.topics(analysis.primary, titles) if analysis.primary else None,
        "cards": panels.cards(analysis),
        "matrix_columns": columns,
        "matrix_rows": rows,
        "diagonal_wins": panels.diagonal_wins(analysis),
    }


def _values(report: Report) -> dict[str, Any]:
    space = report.values
    if space is None:
        return {}
    titles = {arm.arm: arm.title for arm in space.arms}
    return {
        "radar": radar.radar_svg(space),
        "radar_table": radar.radar_table(space),
        "value_title": lambda name: titles.get(name, name),
    }


def _review(report: Report) -> dict[str, Any]:
    found = report.human_review
    if found is None:
        return {}
    arms = report.analysis.arms if report.analysis else ()
    titles = {arm.kind: arm.title for arm in arms}
    return {
        "review": found,
        "review_arm": lambda kind: titles.get(kind, kind),
        "review_scatter": figures_review.scatter(found, titles),
        "reliable": RELIABLE,
        "tentative": TENTATIVE,
    }


def _stated(governance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Governance fields that say something, as words."""
    rows = []
    for name, value in governance.items():
        said = "; ".join(str(part) for part in value) if isinstance(value, list | tuple) else value
        if said not in (None, "", {}):
            rows.append((name.replace("_", " ").capitalize(), str(said)))
    return rows


def _with_short_titles(report: Report) -> Report:
    topics = tuple(
        topic.model_copy(update={"title": text.shorten(topic.title, _TITLE_CHARS)}) for topic in report.topics
    )
    return report.model_copy(update={"topics": topics})


def _css() -> str:
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


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
        percent=text.percent,
        change=text.change,
        seconds=text.seconds,
        measure=text.measure,
        p_value=text.p_value,
        span=text.span,
        span_percent=lambda value: text.span(value, text.percent),
        thousands=lambda value: f"{value:,}",
        said=lambda value: text.shorten(str(value), _SAID_CHARS),
        principle=lambda value: text.shorten(value, _PRINCIPLE_CHARS),
        short=lambda value: text.shorten(str(value), _TITLE_CHARS),
    )
    return environment
