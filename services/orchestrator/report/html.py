"""report.html: one page that needs no network, no script and no other file."""

import json
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.orchestrator.report import figures, reading, text
from services.orchestrator.report.schema import Report

_FOLDER = Path(__file__).parent
_PRINCIPLE_CHARS = 600
_TITLE_CHARS = 160
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
        principle=lambda value: text.shorten(value, _PRINCIPLE_CHARS),
        short=lambda value: text.shorten(str(value), _TITLE_CHARS),
    )
    return environment
