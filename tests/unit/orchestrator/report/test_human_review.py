"""The report's section on a human review, on the page and in the model card."""

from services.orchestrator.analysis.human_review import StageOne
from services.orchestrator.report.html import render_html
from services.orchestrator.report.model_card import model_card
from services.orchestrator.report.schema import Report
from services.orchestrator.review.closing import revise
from tests.unit.orchestrator.analysis.test_rated import simulated
from tests.unit.orchestrator.report import examples
from tests.unit.orchestrator.report.test_html import HOSTILE, SCRIPT, Page


def _revised(by: str = "key:ci", **simulation: float) -> Report:
    stage = tuple(StageOne(arm=arm, passed=40, of=50, rate=0.8, by_topic={}) for arm in ("base_p3", "tuned"))
    found = simulated(**simulation).model_copy(update={"stage_one": stage})  # type: ignore[arg-type]
    old = examples.judged("hold")
    old = old.model_copy(update={"study": {**old.study, "gate": {}}})
    return Report.model_validate_json(revise(old, found, 2, by).to_json())


def test_page_and_card_tell_agreement_correlation_stage_one_and_revision() -> None:
    report = _revised(lift=1.0)
    html = render_html(report)
    text = Page(html).text
    for said in ("Human review", "Krippendorff", "0.667", "40 of 50", "Revision 2 of this report, by key:ci"):
        assert said in text, said
    assert 'aria-label="Scatter: mean rating' in html
    card = model_card(report)
    assert "## Human review" in card
    assert "Krippendorff's alpha" in card


def test_page_review_without_agreement_says_undefined() -> None:
    assert "undefined" in Page(render_html(_revised(reviewers=1))).text


def test_page_without_a_review_has_no_section() -> None:
    assert "Human review" not in Page(render_html(examples.judged("hold"))).text
    assert "## Human review" not in model_card(examples.judged("hold"))


def test_page_hostile_name_of_who_closed_is_only_text() -> None:
    html = render_html(_revised(HOSTILE))
    assert SCRIPT not in html
