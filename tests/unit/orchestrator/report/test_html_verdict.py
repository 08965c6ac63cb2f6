"""The page of a run that ends in a verdict: verdict first, then figure, guards, matrix, limits."""

import pytest

from services.orchestrator.analysis.results import Decision, Reason, Verdict
from services.orchestrator.report import verdict
from services.orchestrator.report.html import render_html
from tests.unit.orchestrator.report import analyses, examples
from tests.unit.orchestrator.report.test_html import HOSTILE, SCRIPT, Page

WORDS: dict[Decision, str] = {"promote": "Promote", "hold": "Hold", "reject": "Reject"}
MAX_BYTES = 400_000


@pytest.mark.parametrize("decision", list(WORDS))
def test_page_verdict_stands_first_with_word_headline_and_reasons(decision: Decision) -> None:
    text = Page(render_html(examples.judged(decision))).text
    body = text[text.index("value alignment report") :]
    assert body.index(f"Verdict: {WORDS[decision]}") < body.index("The primary figure")
    assert verdict.headline(analyses.analysis(("a",), decision).verdict) in body  # type: ignore[arg-type]
    assert analyses.HEADLINES[decision] not in body  # the word stands above it already
    for reason in analyses.REASONS[decision]:
        assert body.index(reason.text) < body.index("The primary figure")
    assert ("not an error of the run" in body) == (decision != "promote")


def test_page_deciding_reasons_are_open_and_the_others_folded() -> None:
    html = render_html(examples.judged("reject"))
    folded = html[html.index('<details class="more">') :]
    folded = folded[: folded.index("</details>")]
    for reason in analyses.REASONS["reject"]:
        assert (reason.text in folded) == (reason.outcome != "reject")


def test_page_judged_run_has_every_part_in_order() -> None:
    text = Page(render_html(examples.judged())).text
    places = [
        text.index(said)
        for said in (
            "Know first", "The primary figure", "The arms", "One arm against another",
            "By topic: exploratory", "Guards", "Trained on × measured against", "What this run could not say",
            "The ruler", "The value space",
            "The paper's own number, and why it is not the verdict",
            "Is it the training, or only the prompt?",
            "Convergence", "The plane of values", "The principles that moved most", "Proof of each swap",
            "Who stands behind the reference set", "Provenance", "Compute it again",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    for shown in ("38.6%", "32.6% to 44.6%", "p < 0.001", "0.442", "0.402 to 0.482", "◆ 0.442"):
        assert shown in text
    assert "the diagonal wins" in text
    assert "no interval. Two things change at once" in text


def test_page_guards_show_status_word_and_measure_against_threshold() -> None:
    text = Page(render_html(examples.judged())).text
    for said in ("Fail", "Warning", "Pass", "Not measured", "0.470 (0.410 to 0.550), at least 0.800"):
        assert said in text


def test_page_figures_of_arms_name_every_arm() -> None:
    html = render_html(examples.judged())
    forest = Page(
        html[
            html.index('aria-label="Forest plot: each arm') - 20 : html.index(
                "</svg>", html.index('aria-label="Forest plot: each arm')
            )
        ]
    )
    assert all(title.split(" (")[0][:20] in forest.text for _, title, _, _ in analyses.ARMS)


def test_page_matrix_whose_diagonal_loses_says_so() -> None:
    report = examples.judged()
    assert report.analysis is not None
    cells = [
        cell.model_copy(update={"mean": analyses.estimate(0.9)})
        if cell.trained_on == cell.measured_against == "gdpr-article-5"
        else cell
        for cell in report.analysis.matrix
    ]
    changed = report.analysis.model_copy(update={"matrix": tuple(cells)})
    text = Page(render_html(report.model_copy(update={"analysis": changed}))).text
    assert "The diagonal does not win everywhere" in text


def test_page_measured_with_analysis_has_no_verdict_but_arms_and_limits() -> None:
    text = Page(render_html(examples.measured_with_analysis())).text
    assert "Measured only" in text
    assert "Where the model stands" in text
    assert "The endpoint takes no seed" in text
    assert "By topic: exploratory" not in text  # one topic says what the pooled number says
    assert "why it is not the verdict" not in text


def test_page_of_schema_1_0_says_there_was_no_verdict() -> None:
    text = Page(render_html(examples.report())).text
    assert "No verdict" in text
    assert "The primary figure" not in text


@pytest.mark.parametrize("decision", list(WORDS))
def test_page_judged_stays_under_400_kb(decision: Decision) -> None:
    assert len(render_html(examples.judged(decision)).encode()) < MAX_BYTES


def test_page_hostile_texts_of_the_analysis_are_shown_not_run() -> None:
    report = examples.judged(titles=(HOSTILE, "b"))
    assert report.analysis is not None
    analysis = report.analysis.model_copy(
        update={
            "verdict": Verdict(
                decision="reject",
                headline=HOSTILE,
                reasons=(Reason(rule=HOSTILE, outcome="reject", text=HOSTILE),),
            ),
            "arms": (
                report.analysis.arms[0].model_copy(
                    update={"arm": HOSTILE, "title": HOSTILE, "kind": HOSTILE}
                ),
            ),
            "guards": (
                analyses.GUARDS[0].model_copy(
                    update={
                        "title": HOSTILE,
                        "summary": HOSTILE,
                        "question": HOSTILE,
                        "measures": (
                            analyses.GUARDS[0]
                            .measures[0]
                            .model_copy(update={"title": HOSTILE, "note": HOSTILE}),
                        ),
                    }
                ),
            ),
            "matrix": (report.analysis.matrix[0].model_copy(update={"trained_on": HOSTILE}),),
            "not_run": {HOSTILE: HOSTILE},
            "uncontrolled": (HOSTILE,),
            "notes": (HOSTILE,),
        }
    )
    hostile = report.model_copy(
        update={
            "analysis": analysis,
            "warnings": (HOSTILE,),
            "governance": {HOSTILE: HOSTILE, "x": [HOSTILE]},
        }
    )
    page = Page(render_html(hostile))
    assert page.open == []
    assert not page.all("script")
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(SCRIPT) >= 15


def test_page_estimates_without_interval_render() -> None:
    report = examples.judged()
    assert report.analysis is not None
    bare = {"low": None, "high": None}
    arms = tuple(
        arm.model_copy(
            update={
                "mean": arm.mean.model_copy(update=bare),
                "specificity": None,
                "scaled": None,
                "distribution": None,
            }
        )
        for arm in report.analysis.arms
    )
    primary = report.analysis.primary
    assert primary is not None
    changed = report.analysis.model_copy(
        update={
            "arms": arms,
            "scale": report.analysis.scale.model_copy(update={"ceiling": None}),
            "primary": primary.model_copy(
                update={"reduction": primary.reduction.model_copy(update=bare), "p_value": None, "topics": ()}
            ),
        }
    )
    text = Page(render_html(report.model_copy(update={"analysis": changed}))).text
    assert "It has no interval." in text
    assert "The ceiling was not drawn." in text
