"""The page of a real analysis: evidence whose truth is known, through statistics, guards and gate."""

import pytest

from services.orchestrator.analysis.compute import analyse
from services.orchestrator.report.html import render_html
from services.orchestrator.report.schema import Report
from tests.evidence import Model, make_evidence
from tests.unit.orchestrator.report import examples
from tests.unit.orchestrator.report.test_html import Page

MAX_BYTES = 400_000


@pytest.mark.parametrize(("model", "word"), [("constant", "Reject"), ("faithful", "Hold")])
def test_page_of_a_real_analysis_says_what_the_gate_said(model: Model, word: str) -> None:
    report = examples.report()
    evidence = make_evidence([topic.id for topic in report.topics], inputs=15, model=model, probes=True)
    judged = report.model_copy(update={"analysis": analyse(evidence)})
    assert Report.model_validate_json(judged.to_json()) == judged
    html = render_html(judged)
    page = Page(html)
    assert page.open == []
    assert f"Verdict: {word}" in page.text
    assert len(page.figures()) == 5
    assert judged.analysis is not None
    for guard in judged.analysis.guards:
        assert guard.title in page.text
    for arm in judged.analysis.arms:
        assert arm.title in page.text
    assert len(html.encode()) < MAX_BYTES


def test_page_of_a_real_measurement_has_arms_by_topic() -> None:
    report = examples.report()
    evidence = make_evidence([topic.id for topic in report.topics], inputs=10, measure_only=True)
    measured = report.model_copy(update={"analysis": analyse(evidence), "stop_reason": "measure_only"})
    text = Page(render_html(measured)).text
    assert "Measured only" in text
    assert "Value difference of each arm by topic" in text
