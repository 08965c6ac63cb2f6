"""The radar and its table."""

import xml.etree.ElementTree as ET

import pytest

from services.orchestrator.analysis.values.results import Weighing
from services.orchestrator.analysis.values.space import value_space
from services.orchestrator.report.html import render_html
from services.orchestrator.report.radar import radar_svg, radar_table
from tests.unit.orchestrator.report import examples
from tests.unit.orchestrator.report.test_html import Page
from tests.value_spaces import evidence, known


def space_of(spoken=None, **options):
    agreement = known() if spoken is None else known(spoken)
    return value_space(evidence(lambda arm, topic, index, value: "important", agreement=agreement, **options))


def test_radar_is_well_formed_and_names_every_value_once():
    root = ET.fromstring(radar_svg(space_of()))  # noqa: S314 (our own text)
    texts = [node.text for node in root.iter() if node.tag.endswith("text")]
    for name in ("Self-direction", "Power", "Universalism"):
        assert texts.count(name) == 1
    assert root.get("role") == "img"
    assert "Radar" in root.get("aria-label")


def test_radar_follows_the_pages_colours():
    svg = radar_svg(space_of())
    assert "var(--after)" in svg
    assert "var(--text)" in svg
    assert "#" not in svg.replace("http://www.w3.org", "")


def test_value_that_is_not_spoken_of_is_a_gap_and_never_a_point():
    whole, partial = radar_svg(space_of()), radar_svg(space_of(("security", "power")))
    assert partial.count("too few labels") == 8
    assert "too few labels" not in whole
    assert partial.count("<circle") == 3  # the original arm's: two points, and one in the key
    assert "nan" not in partial.lower()


def test_radar_of_one_topic_shows_that_topics_numbers():
    assert radar_svg(space_of(), "privacy") != ""
    assert radar_svg(space_of(), "no-such-topic") == ""


def test_nothing_to_speak_of_gives_no_radar_but_a_table_that_says_so():
    space = space_of(())
    assert radar_svg(space) == ""
    assert radar_table(space).count("too few labels") == 10


def test_table_has_numbers_intervals_and_agreement():
    table = radar_table(space_of(("security",)))
    ET.fromstring(table)  # noqa: S314 (our own text)
    assert "0.85" in table
    assert table.count("–</td>") >= 9 * 4
    assert "Distance to the target" in table


def test_judge_without_labels_is_unknown_in_the_table():
    space = value_space(evidence(lambda *_: "none", evaluator="judge"))
    assert radar_table(space).count("unknown") == 10


@pytest.mark.parametrize("draw", [radar_svg, radar_table])
def test_titles_are_escaped(draw):
    space = space_of()
    arm = space.arms[0].model_copy(update={"title": "<b>&x"})
    text = draw(space.model_copy(update={"arms": (arm,)}))
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_page_shows_how_the_distance_entered_the_weights():
    report = examples.judged()
    topics = [topic.id for topic in report.topics]
    weighing = Weighing(
        iteration=0,
        differences=dict.fromkeys(topics, 0.501),
        distances=dict.fromkeys(topics, 0.702),
        share=0.25,
        weights=dict.fromkeys(topics, 0.903),
    )
    assert report.values is not None
    values = report.values.model_copy(update={"weighings": (weighing,)})
    text = Page(render_html(report.model_copy(update={"values": values}))).text
    assert "In the topic weights" not in Page(render_html(report)).text
    assert "25.0 % from the distance in value space" in text
    for shown in ("0.501", "0.702", "0.903"):
        assert text.count(shown) >= len(topics)
