"""Runs in a real MLflow server: what they become there, while they go and once they have ended."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.orchestrator.ports import RunStatus
from services.orchestrator.store.rows import append_event
from tests.bundles import store_run
from tests.evidence import make_evidence
from tests.integration.orchestrator.tracking.conftest import Place

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def tell(place: Place, iteration: int, run_id: str = "r-1") -> None:
    """What a run tells of one iteration."""
    means = {"privacy": 0.5 - iteration / 10, "fairness": 0.4 - iteration / 10}
    store = place.store
    for step in (1, 2):
        told = {"iteration": iteration, "step": step, "loss": 2.0 - step, "learning_rate": 1e-5}
        store.add_event(run_id, "training.progress", told)
    arm = f"realigned-i{iteration}"
    told = {"arm": arm, "split": "validation", "iteration": iteration, "means": means}
    store.add_event(run_id, "topic.means", {**told, "mean": sum(means.values()) / 2})
    told = {"iteration": iteration, "weights": {"privacy": 1.0, "fairness": 0.5}, "relative_improvement": 0.2}
    store.add_event(run_id, "iteration.ended", told)


def points(place: Place, run: Any, key: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in place.client.get_metric_history(run.info.run_id, key)]


async def test_run_that_goes_shows_its_metrics_as_they_come(place: Place) -> None:
    await place.step()
    place.create_run()
    await place.step()
    (run,) = place.runs()
    assert run.info.status == "SCHEDULED"
    assert run.data.tags["valign.run_id"] == "r-1"
    assert run.data.tags["valign.reference_set"] == "test-set"
    assert run.data.params["lora.rank"] == "16"
    assert run.data.params["topics"] == "privacy, fairness"
    place.store.change_status("r-1", RunStatus.RUNNING, "run.started")
    tell(place, 1)
    await place.step()
    (run,) = place.runs()
    assert run.info.status == "RUNNING"
    assert points(place, run, "training/i1/loss") == [(1, 1.0), (2, 0.0)]
    assert points(place, run, "value_difference/privacy") == [(1, 0.4)]
    tell(place, 2)
    await place.step()
    assert points(place, run, "value_difference/privacy") == [(1, 0.4), (2, 0.3)]
    assert points(place, run, "value_difference_mean") == [(1, pytest.approx(0.35)), (2, pytest.approx(0.25))]
    place.store.change_status(
        "r-1", RunStatus.FAILED, "run.failed", error_code="INTERNAL", error_message="no"
    )
    await place.step()
    (run,) = place.runs()
    assert run.info.status == "FAILED"
    assert run.data.tags["valign.error_message"] == "no"
    assert run.info.end_time is not None


async def test_run_that_is_told_twice_is_not_there_twice(place: Place) -> None:
    await place.step()
    place.create_run()
    tell(place, 1)
    await place.step()
    (run,) = place.runs()
    # As if a process had died after the words and before its note of them.
    tracking = place.store.platform.tracking
    at = tracking.run("r-1")
    assert at is not None
    tracking.put_run(type(at)("r-1", at.mlflow_run_id, 0))
    await place.step()
    assert points(place, run, "training/i1/loss") == [(1, 1.0), (2, 0.0)]
    with tracking._transactions.begin() as connection:
        connection.exec_driver_sql("DELETE FROM mlflow_runs")
    place.new_mirror()
    await place.step()
    (again,) = place.runs()
    assert again.info.run_id == run.info.run_id
    assert points(place, run, "value_difference/privacy") == [(1, 0.4)]


async def test_run_that_has_succeeded_leaves_its_report(place: Place) -> None:
    await place.step()
    evidence = make_evidence(topics=2, inputs=10, probes=False)
    place.new_mirror(mlflow_audit_bundle=True)
    world = store_run(place.store, place.artifacts, evidence, "r-1")
    place.artifacts.put_bytes("runs/r-1/model-card.md", b"# card")
    await place.step()
    (run,) = place.runs()
    assert run.info.status == "FINISHED"
    names = {one.path for one in place.client.list_artifacts(run.info.run_id)}
    assert names == {"study.json", "report.json", "report.html", "model-card.md", "audit-bundle.zip"}
    analysis = world.report.analysis
    assert analysis is not None
    assert analysis.primary is not None
    assert analysis.verdict is not None
    metrics, tags = run.data.metrics, run.data.tags
    assert metrics["primary/difference"] == pytest.approx(analysis.primary.difference.value)
    assert metrics["primary/difference_low"] == pytest.approx(analysis.primary.difference.low)
    assert metrics["primary/p_value"] == pytest.approx(analysis.primary.p_value)
    assert tags["valign.decision"] == analysis.verdict.decision
    assert tags["valign.base_model"] == "test-model"
    assert {f"valign.guard.{guard.id}" for guard in analysis.guards} <= set(tags)
    path = place.client.download_artifacts(run.info.run_id, "report.json", str(place.folder))
    stored = place.artifacts.get_bytes(place.store.get_run("r-1").report_uri)
    assert Path(path).read_bytes() == stored


async def test_runs_that_had_ended_before_are_left_out_unless_opened_again(place: Place) -> None:
    place.create_run("r-old")
    place.store.change_status("r-old", RunStatus.FAILED, "run.failed")
    place.create_run("r-new")
    await place.step()
    assert [run.data.tags["valign.run_id"] for run in place.runs()] == ["r-new"]
    place.store.retry_run("r-old", "")
    await place.step()
    assert {run.data.tags["valign.run_id"] for run in place.runs()} == {"r-old", "r-new"}


async def test_run_with_hostile_words_and_long_ones_is_taken(place: Place) -> None:
    await place.step()
    long = "ö" * 19_000 + "'`\"; DROP TABLE runs; --"
    place.create_run(description=long, topics=[("a-b", "A/B"), ("c", "../..")])
    place.store.add_event(
        "r-1", "topic.means", {"split": "vali/../dation", "arm": "a b;'", "means": {"../x": 1.0}}
    )
    place.store.add_event(
        "r-1", "topic.means", {"split": "test", "arm": "", "means": {"": 0.5, "." * 400: 0.25}}
    )
    await place.step()
    (run,) = place.runs()
    said = run.data.params["description"]
    assert len(said) == 6000
    assert said.endswith(f"({len(long)} characters, sha256 {hashlib.sha256(long.encode()).hexdigest()})")
    assert sorted(run.data.metrics.values()) == [0.25, 0.375, 0.5, 1.0, 1.0]


async def test_thousands_of_metrics_go_in_batches(place: Place) -> None:
    await place.step()
    place.create_run()
    with place.store._engine.begin() as connection:
        for step in range(1, 1301):
            told = {"iteration": 1, "step": step, "loss": 1 / step, "learning_rate": 1e-5, "epoch": step / 10}
            told["tokens_per_s"] = 100.0
            append_event(connection, "r-1", "training.progress", told, NOW + timedelta(seconds=step))
    place.store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled")
    await place.step()
    (run,) = place.runs()
    assert run.info.status == "KILLED"
    assert len(points(place, run, "training/i1/loss")) == 1300
    assert len(points(place, run, "training/i1/tokens_per_s")) == 1300


async def test_run_that_is_deleted_in_mlflow_stays_deleted(place: Place) -> None:
    await place.step()
    place.create_run()
    await place.step()
    (run,) = place.runs()
    place.client.delete_run(run.info.run_id)
    tell(place, 1)
    place.create_run("r-2")
    await place.step()
    tell(place, 2)
    await place.step()
    assert [one.data.tags["valign.run_id"] for one in place.runs()] == ["r-2"]


async def test_experiment_that_is_deleted_holds_runs_back_until_it_is_restored(place: Place) -> None:
    await place.step()
    place.create_run()
    await place.step()
    experiment = place.client.get_experiment_by_name(place.name)
    place.client.delete_experiment(experiment.experiment_id)
    place.create_run("r-2")
    await place.mirror.step()
    failure = place.store.platform.tracking.state().failure
    assert "deleted in MLflow; restore it" in failure
    place.client.restore_experiment(experiment.experiment_id)
    place.new_mirror()
    await place.step()
    assert "r-2" in {one.data.tags["valign.run_id"] for one in place.runs()}
