"""The model card: the Hub can read its metadata, the verdict comes first, and no text is interpreted."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from services.orchestrator.report.card_text import cell, fenced, line, rows
from services.orchestrator.report.model_card import metadata, model_card
from services.orchestrator.report.schema import Report
from tests.bundles import RunWorld, make_run
from tests.evidence import make_evidence

DIGEST = "b" * 64


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    world = make_run(tmp_path_factory.mktemp("card"), make_evidence(2, 12, 2, probes=True))
    yield world
    world.store.close()


def _changed(report: Report, **changes: Any) -> Report:
    return Report.model_validate({**report.model_dump(mode="json"), **changes})


def test_model_card_metadata_are_read_by_the_hubs_own_classes(run: RunWorld, tmp_path: Path) -> None:
    card = ModelCard(model_card(run.report, DIGEST))
    data = card.data
    assert (data.base_model, data.library_name, data.license) == ("test-model", "peft", "unknown")
    assert {"lora", "valign", "reference-set:test-set", "valign-verdict:hold"} <= set(data.tags)
    assert data.model_name == "r-1-i2-0badcafe"
    results = data.eval_results
    primary = run.report.analysis.primary
    assert results[0].metric_value == pytest.approx(primary.reduction.value, abs=1e-6)
    assert results[0].metric_args == {
        "confidence_level": 0.95,
        "low": pytest.approx(primary.reduction.low, abs=1e-6),
        "high": pytest.approx(primary.reduction.high, abs=1e-6),
    }
    assert results[0].dataset_type == "valign/test-set"
    assert results[0].dataset_revision == run.report.provenance.reference_set.sha256
    names = {result.metric_type for result in results}
    assert {"value_difference", "value_difference_reduction_paper", "guard_utility_kl_tuned"} <= names
    # Written by the Hub's classes and read again, nothing is lost.
    card.save(tmp_path / "README.md")
    assert ModelCard.load(tmp_path / "README.md").data.to_dict() == data.to_dict()


def test_model_card_body_says_the_verdict_first_and_all_that_belongs_to_it(run: RunWorld) -> None:
    text = model_card(run.report, DIGEST)
    body = text.split("\n---\n", 1)[1]
    headings = [line.removeprefix("## ") for line in body.splitlines() if line.startswith("## ")]
    assert headings == [
        "Verdict: hold",
        "Figures",
        "Arms",
        "Guards",
        "What this cannot tell",
        "Use",
        "Training",
        "Reference set",
        "Reproduce and audit",
    ]
    for reason in run.report.analysis.verdict.reasons:
        assert line(reason.text) in body
    for arm in run.report.analysis.arms:
        assert f"| {cell(arm.title)} |" in body
    for guard in run.report.analysis.guards:
        assert f"| {cell(guard.title)} |" in body
    assert f"valign verify bundle.zip --expect-sha256 {DIGEST}" in body
    assert run.report.evidence.sha256 in body
    assert "learning_rate: 1e-05" in body


def test_model_card_equal_reports_give_equal_cards(run: RunWorld) -> None:
    assert model_card(run.report, DIGEST) == model_card(_changed(run.report), DIGEST)


def test_model_card_without_a_bundle_says_that_none_was_made(run: RunWorld) -> None:
    text = model_card(run.report)
    assert "| sha256 of the audit bundle | not made yet |" in text
    assert "--expect-sha256" not in text


def test_model_card_license_given_is_used(run: RunWorld) -> None:
    assert metadata(run.report, "apache-2.0")["license"] == "apache-2.0"


def test_model_card_of_a_report_of_schema_1_0_has_the_papers_figure_alone(run: RunWorld) -> None:
    old = _changed(run.report, schema_version="1.0", analysis=None, evidence=None, governance=None)
    text = model_card(old, DIGEST)
    assert "## Verdict: no verdict" in text
    assert "## Guards" not in text
    assert [result.metric_type for result in ModelCard(text).data.eval_results] == [
        "value_difference_reduction_paper"
    ]


def test_model_card_of_a_run_that_trained_nothing_is_refused(run: RunWorld) -> None:
    with pytest.raises(ValueError, match="run r-1 trained no adapter"):
        model_card(_changed(run.report, adapter=None), DIGEST)


EVIL = "</td><script>alert(1)</script> | [x](javascript:1) `code` **bold**\n---\n# heading"


def test_model_card_with_hostile_texts_interprets_none(run: RunWorld) -> None:
    governance = {"steward": EVIL, "changes": [EVIL, "second"]}
    text = model_card(_changed(run.report, governance=governance, warnings=[EVIL], base_model=EVIL), DIGEST)
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["base_model"] == EVIL
    assert "<script>" not in body.replace("from_pretrained('</td><script>", "")
    first = [entry for entry in body.splitlines() if entry.startswith("# ")]
    assert first[0] == "# r-1-i2-0badcafe"
    assert "# heading" not in first


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb", "a b"),
        ("- no list", "\\- no list"),
        ("1. no list", "\\1. no list"),
        ("<b>&", "\\<b\\>&amp;"),
        ("隐私 *x*", "隐私 \\*x\\*"),
    ],
)
def test_line_markup_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert line(text) == shown


def test_rows_cells_keep_to_their_columns() -> None:
    assert list(rows(("a", "b"), [("x|y", "z")])) == ["| a | b |", "|---|---|", "| x\\|y | z |"]


def test_fenced_text_with_a_fence_gets_a_longer_one() -> None:
    assert list(fenced("sh", "a\n```\nb\n")) == ["````sh", "a\n```\nb", "````"]
