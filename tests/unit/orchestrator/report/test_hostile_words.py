"""Words of models, users and strangers in pages and cards: shown, never part of the markup."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError

from services.orchestrator.comparing import compare
from services.orchestrator.report.comparison import render_comparison
from services.orchestrator.report.html import render_html
from services.orchestrator.report.model_card import model_card
from services.orchestrator.report.schema import Report
from tests.fuzzing import examples as share
from tests.unit.orchestrator.report import examples
from tests.unit.orchestrator.report.test_html import Page

_TEXTS = (
    "<script>alert(1)</script>",
    "</script><script src=//evil.example></script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "</title></style><iframe srcdoc='<script>1</script>'>",
    "<!-- ",
    "--><b>",
    "<![CDATA[",
    "]]>",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)",
    "data:text/html,<script>1</script>",
    "{{ 7*7 }}{% raw %}{# #}",
    "{{ ''.__class__.__mro__ }}",
    "{x.__class__.__init__.__globals__}",
    "${7*7}#{7*7}%s%n",
    "@0@ @1@",
    "---\nlicense: mit\n---\n",
    "\n---\n# Verdict: promote\n",
    "a: b\n- c: &x [*x]\n!!python/object:os.system",
    "```\n<script>1</script>\n```",
    "~~~\n# x",
    "| a | b |\n|---|---|",
    "1. x\n2. y\n> z\n# h",
    "\u202e\u2066gnp.exe",
    "\0\x07\x1b[31m\x9b",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "../../../etc/passwd",
    "x" * 5_000,
)
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
_any_text = st.one_of(
    st.sampled_from(_TEXTS),
    st.lists(st.sampled_from((*_TEXTS[:20], "<", ">", '"', "'", "&", "`", "\n", "\\")), max_size=5).map(
        "".join
    ),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=80),
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a text in JSON data."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))


def _replaced(data: Any, place: tuple[Any, ...], text: str) -> Any:
    if not place:
        return text
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[place[0]] = _replaced(copy[place[0]], place[1:], text)
    return copy


@cache
def _free(made: Callable[[], Report]) -> tuple[dict[str, Any], tuple[tuple[Any, ...], ...]]:
    """A report as data, and the places of it that take any text."""
    data = made().model_dump(mode="json")
    free = []
    for place in _leaves(data):
        try:
            Report.model_validate(_replaced(data, place, "<any text>"))
        except ValidationError:
            continue
        # Ids tie parts together: a page of parts that do not know each other is no page of ours.
        if place[-1] not in ("id", "topic", "topic_id", "arm", "left", "right", "minuend", "subtrahend"):
            free.append(place)
    return data, tuple(free)


def _with(made: Callable[[], Report], text: Callable[[], str]) -> Report:
    """The report with every text that is free replaced, where it can still be read."""
    data, free = _free(made)
    for place in free:
        data = _replaced(data, place, text())
    return Report.model_validate(data)


# What a figure draws depends on the words too: a mark more, a text that was cut.
_DRAWN = {"circle", "span", "@cx", "@cy", "@r", "@style", "@class", "@dir"}


def _shape(html: str) -> set[str]:
    """Which tags and @attributes there are; fails for what acts or leads away."""
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form", "a", "img"), (
            tag,
            attributes,
        )
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, attributes)
            if name in ("href", "src", "xlink:href", "action", "formaction", "srcdoc"):
                assert (value or "").startswith(("#", "data:,")), (tag, attributes)
    names = {f"@{name}" for _, attributes in page.tags for name in attributes}
    return names | _DRAWN | {tag for tag, _ in page.tags}


@pytest.mark.parametrize("made", [examples.judged, examples.measured_with_analysis])
def test_page_with_every_text_replaced_has_the_tags_that_it_had(made: Callable[[], Report]) -> None:
    # Drawing a page takes a second: nothing is shrunk, and each holds all the texts, in other places.
    clean = _shape(render_html(made()))

    @settings(max_examples=share(0.02), suppress_health_check=_SLOW, phases=[Phase.generate])
    @given(texts=st.lists(_any_text, max_size=20), seed=st.integers(0, 100))
    def fuzz(texts: list[str], seed: int) -> None:
        turns = cycle([*_TEXTS[seed % len(_TEXTS) :], *texts, *_TEXTS])
        assert _shape(render_html(_with(made, lambda: next(turns)))) <= clean

    fuzz()


def _card_tags(markdown: str) -> set[str]:
    """The tags of the card's body, as a reader that lets HTML through would make them."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    page = Page(html)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    return {tag for tag, _ in page.tags}


def _front(card: str) -> tuple[dict[str, Any], str]:
    # As the Hub reads it: the front ends at the first line that is "---".
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    data = yaml.safe_load(front)
    assert isinstance(data, dict)
    return data, body


def _check_card(report: Report) -> None:
    clean, clean_body = _front(model_card(examples.judged(), "b" * 64))
    data, body = _front(model_card(report, "b" * 64))
    assert set(data) <= set(clean)
    assert data["license"] == clean["license"]
    # A headline of no visible character is "****", a rule.
    assert _card_tags(body) <= _card_tags(clean_body) | {"br", "hr"}
    headings = [line for line in body.splitlines() if line.startswith("## ")]
    assert headings == [line for line in clean_body.splitlines() if line.startswith("## ")]


@pytest.mark.parametrize("text", _TEXTS)
def test_card_of_one_hostile_text_everywhere_keeps_its_front_and_its_headings(text: str) -> None:
    _check_card(_with(examples.judged, lambda: text))


@settings(max_examples=share(0.1), suppress_health_check=_SLOW)
@given(texts=st.lists(_any_text, min_size=1, max_size=20))
def test_card_with_every_text_replaced_keeps_its_front_and_its_headings(texts: list[str]) -> None:
    turns = cycle(texts)
    _check_card(_with(examples.judged, lambda: next(turns)))


def _compared(change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    reports = []
    for number in "12":
        data = examples.judged().model_dump(mode="json") | {"run_id": f"r-{number}"}
        reports.append(Report.model_validate(change(data)))
    return render_comparison(compare(reports))


@pytest.mark.parametrize("text", _TEXTS)
def test_comparison_of_hostile_names_has_the_tags_that_it_had(text: str) -> None:
    clean = _shape(_compared(lambda data: data))

    def change(data: dict[str, Any]) -> dict[str, Any]:
        topics = [{**topic, "title": text} for topic in data["topics"]]
        return {**data, "base_model": text, "topics": topics, "study": {**data["study"], "name": text}}

    assert _shape(_compared(change)) <= clean
