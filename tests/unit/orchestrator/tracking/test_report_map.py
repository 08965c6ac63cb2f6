"""A report as metrics and tags."""

from pathlib import Path

import pytest

from services.orchestrator.report.schema import Report
from services.orchestrator.tracking.report_map import report_metrics, report_tags
from tests.bundles import make_run
from tests.evidence import make_evidence


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("report")
    world = make_run(folder, make_evidence(topics=2, inputs=10))
    world.store.close()
    return world.report


def test_metrics_hold_the_primary_figure_its_interval_and_the_guards(report: Report) -> None:
    found = {one.key: one for one in report_metrics(report)}
    assert report.analysis is not None
    primary = report.analysis.primary
    assert primary is not None
    assert found["primary/difference"].value == primary.difference.value
    assert found["primary/difference_low"].value == primary.difference.low
    assert found["primary/difference_high"].value == primary.difference.high
    assert found["primary/p_value"].value == primary.p_value
    for topic in primary.topics:
        assert found[f"primary/{topic.topic}/p_holm"].value == topic.p_holm
    for guard in report.analysis.guards:
        for measure in guard.measures:
            key = f"guard/{guard.id}/{measure.name}"
            assert (key in found) == (measure.value is not None)
    assert found["report/before"].value == report.overall.before
    assert {one.step for one in found.values()} == {report.best_iteration or 0}
    assert len({one.time_ms for one in found.values()}) == 1


def test_metrics_of_one_report_have_keys_of_their_own(report: Report) -> None:
    keys = [one.key for one in report_metrics(report)]
    assert len(keys) == len(set(keys))


def test_tags_hold_the_verdict_and_what_identifies_the_models(report: Report) -> None:
    found = report_tags(report)
    assert report.analysis is not None
    assert report.analysis.verdict is not None
    assert found["valign.decision"] == report.analysis.verdict.decision
    assert found["valign.verdict"] == report.analysis.verdict.headline
    assert found["valign.base_fingerprint"] == report.provenance.model_fingerprint
    assert {
        f"valign.guard.{guard.id}": guard.status for guard in report.analysis.guards
    }.items() <= found.items()


def test_report_of_a_run_that_only_measured_has_no_primary_figure(report: Report) -> None:
    assert report.analysis is not None
    analysis = report.analysis.model_copy(update={"primary": None, "verdict": None})
    bare = report.model_copy(update={"analysis": analysis, "adapter": None})
    assert not [one for one in report_metrics(bare) if one.key.startswith("primary/")]
    assert "valign.decision" not in report_tags(bare)
    old = report.model_copy(update={"analysis": None})
    assert {one.key.split("/")[0] for one in report_metrics(old)} == {"report", "seconds"}
