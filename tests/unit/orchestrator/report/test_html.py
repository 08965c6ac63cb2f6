"""report.html: complete, safe, offline, small, the same every time."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from services.orchestrator.report.html import render_html
from services.orchestrator.report.schema import Report
from tests.unit.orchestrator.report import examples

SCRIPT = "<script>alert(1)</script>{{ 7*7 }}{% raw %}@0@@1@<img"
HOSTILE = f"</td></svg>{SCRIPT} src=http://evil.example/x onerror=a()>&\"'"
EVERY = pytest.mark.parametrize(
    "made",
    [examples.report, examples.judged, examples.measured_with_analysis],
    ids=["1.0", "judged", "measured"],
)
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, visible text, ids, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def figures(self) -> list[dict[str, str | None]]:
        """Pictures that say something; icons beside a word are hidden from screen readers."""
        return [svg for svg in self.all("svg") if svg.get("aria-hidden") != "true"]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_trained_run_has_every_part() -> None:
    page = Page(render_html(examples.report()))
    assert page.open == []
    assert len(page.figures()) == 3
    for said in (
        "What was measured", "How to read this", "Convergence", "Topic ranking and weights",
        "The plane of values", "The principles that moved most", "What became of the answers",
        "Proof of each swap", "Provenance",
    ):  # fmt: skip
        assert said in page.text
    for shown in (
        "SmolLM2-135M-Instruct",
        "all-mpnet-base-v2",
        "0.440",
        "−40.5%",
        "0.61%",
        "run-0123456789ab",
    ):
        assert shown in page.text


def test_page_measured_only_shows_what_there_is() -> None:
    page = Page(render_html(examples.measured_only()))
    assert "Measured only." in page.text
    assert "0.700" in page.text
    assert "The plane of values" not in page.text
    assert len(page.figures()) == 1


def test_page_one_topic_renders() -> None:
    page = Page(render_html(examples.report(("Bias Removal",), iterations=1)))
    assert "On 3 test pairs of 1 topic," in page.text
    assert len(page.figures()) == 3


def test_page_hostile_texts_are_shown_not_run() -> None:
    report = examples.report((HOSTILE, "b"), said=HOSTILE)
    hostile = report.model_copy(
        update={
            "name": HOSTILE,
            "base_model": HOSTILE,
            "constant_sentence": HOSTILE,
            "study": {HOSTILE: HOSTILE},
            "counts": {
                HOSTILE: report.counts["original"].model_copy(update={"failed_by_reason": {HOSTILE: 1}})
            },
            "timings_s": {HOSTILE: 1.0},
        }
    )
    page = Page(render_html(hostile))
    assert page.open == []
    assert not page.all("script")
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert SCRIPT in page.text


@EVERY
def test_page_loads_nothing_from_anywhere(made: Callable[[], Report]) -> None:
    html = render_html(made())
    for _, attributes in Page(html).tags:
        for name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)])", html)) <= {"#"}
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {"http://www.w3.org/2000/svg"}


@EVERY
def test_page_ids_are_unique_and_every_reference_has_its_target(made: Callable[[], Report]) -> None:
    html = render_html(made())
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | {
        (attributes[name] or "").lstrip("#")
        for _, attributes in page.tags
        for name in ("href", "aria-labelledby")
        if attributes.get(name)
    }
    assert wanted <= set(ids)


@EVERY
def test_page_is_accessible_in_its_structure(made: Callable[[], Report]) -> None:
    page = Page(render_html(made()))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.figures())
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(page.figures())
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(th.get("scope") in ("row", "col") for th in page.all("th"))


@EVERY
def test_page_figures_take_their_colours_from_the_page(made: Callable[[], Report]) -> None:
    html = render_html(made())
    figures = "".join(re.findall(r"<svg role=.*?</svg>", html, re.DOTALL))
    assert "var(--before)" in figures
    assert set(re.findall(r"#[0-9a-f]{6}\b", figures)) <= set()
    defined = set(re.findall(r"(--[\w-]+):", html))
    assert set(re.findall(r"var\((--[\w-]+)\)", html)) <= defined | {"--w", "--tile"}


def test_page_thirty_topics_with_long_texts_stays_under_two_megabytes() -> None:
    titles = tuple(f"Topic {index} " + "with a name that goes on and on " * 20 for index in range(30))
    report = examples.report(titles, iterations=5, said="word " * 20_000)
    report = report.model_copy(update={"study": {"inline": "x" * 3_000_000}})
    assert len(render_html(report).encode()) < 2_000_000


def test_page_same_report_gives_the_same_bytes() -> None:
    assert render_html(examples.report()) == render_html(examples.report())


@pytest.mark.parametrize("title", ["人工智能的可解释性", "الخصوصية والأمن", "פרטיות", "a $x_1$ <b> & c"])
def test_page_titles_of_any_script_stand_in_figures_and_tables(title: str) -> None:
    html = render_html(examples.report((title, "Bias Removal")))
    figures = re.findall(r"<svg role=.*?</svg>", html, re.DOTALL)
    assert title in Page(figures[0]).text
    assert title in Page(figures[1]).text
    assert {"scope": "row", "dir": "auto"} in Page(html).all("th")


def test_page_twelve_topics_chinese_and_arabic_renders_without_a_warning() -> None:
    titles = tuple(["透明度与问责制", "المساءلة والشفافية"][index % 2] + f" {index}" for index in range(12))
    page = Page(render_html(examples.report(titles)))
    assert all(title in page.text for title in titles)


def test_page_best_iteration_that_is_not_the_last_is_marked() -> None:
    report: Report = examples.report().model_copy(update={"best_iteration": 2})
    page = Page(render_html(report))
    assert "2 (best)" in page.text
    assert "3 (best)" not in page.text


def test_page_time_total_is_not_counted_twice() -> None:
    page = Page(render_html(examples.report()))
    assert "Wall time by stage, 6 min 26 s in all." in page.text
    assert "73.5%" in page.text
    assert "training 4 min 34 s" in page.text


def test_page_topic_without_usable_answers_after_tuning_is_said() -> None:
    report = examples.report()
    lost = report.topics[0].model_copy(update={"after": None, "reduction": None})
    partial = report.model_copy(
        update={
            "topics": (lost, *report.topics[1:]),
            "overall": report.overall.model_copy(update={"after": None, "reduction": None}),
        }
    )
    page = Page(render_html(partial))
    assert "on Reasoning and Interpretability it gave no usable answer" in page.text
    assert "only measured" not in page.text
    assert "after (tuned, third prompt)" in page.text
