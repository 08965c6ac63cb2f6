"""What is due for MLflow, read from runs, adapters and their histories."""

from services.orchestrator.ports import RunStatus
from services.orchestrator.registry.records import AdapterState
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.tracking import MirroredAlias, MirroredRun, MirroredVersion
from tests.fakes.registry import add
from tests.fakes.studies import study_json

S = AdapterState


def create(store: SqlRunStore, *run_ids: str) -> None:
    for run_id in run_ids:
        store.create_run(run_id, "test", study_json())


def test_due_runs_are_those_with_events_that_were_not_told(store: SqlRunStore) -> None:
    create(store, "r-1", "r-2")
    tracking = store.platform.tracking
    assert tracking.due_runs() == ["r-1", "r-2"]
    tracking.put_run(MirroredRun("r-1", "m-1", 1))
    assert tracking.due_runs() == ["r-2"]
    assert tracking.run("r-1") == MirroredRun("r-1", "m-1", 1)
    assert tracking.run("r-2") is None
    store.add_event("r-1", "stage.started", {"stage": "uncover"})
    assert tracking.due_runs() == ["r-1", "r-2"]


def test_begin_leaves_out_what_has_ended_and_can_be_repeated(store: SqlRunStore) -> None:
    create(store, "r-1", "r-2")
    store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled")
    tracking = store.platform.tracking
    tracking.begin()
    tracking.begin()
    assert tracking.due_runs() == ["r-2"]
    store.retry_run("r-1", "")
    assert tracking.due_runs() == ["r-1", "r-2"]


def test_due_adapters_are_candidates_without_a_version_and_what_has_changed(store: SqlRunStore) -> None:
    tracking = store.platform.tracking
    add(store.registry, "trained", state=S.TRAINED)
    add(store.registry, "proven", state=S.PROVEN)
    add(store.registry, "a", "b")
    assert [(due.adapter.name, due.change) for due in tracking.due_adapters()] == [("a", 3), ("b", 3)]
    version = MirroredVersion("a", "valign-m", "1", 5, 3)
    tracking.put_version(version)
    assert [due.adapter.name for due in tracking.due_adapters()] == ["b"]
    store.registry.move("a", S.REJECTED, "no")
    assert [(due.adapter.name, due.change) for due in tracking.due_adapters()] == [("b", 3), ("a", 4)]
    assert [one.name for one in tracking.candidates()] == ["b"]
    assert tracking.versions() == [version]
    tracking.forget_version("valign-m", "1")
    assert [due.adapter.name for due in tracking.due_adapters()] == ["b"]


def test_aliases_go_with_their_model(store: SqlRunStore) -> None:
    tracking = store.platform.tracking
    alias = MirroredAlias("m", "champion", "1", "2", 3)
    tracking.put_alias(alias)
    tracking.put_alias(MirroredAlias("m", "champion", "2", None, 4))
    assert tracking.aliases("m") == {"champion": MirroredAlias("m", "champion", "2", None, 4)}
    tracking.put_version(MirroredVersion("a", "m", "1", 5, 3))
    tracking.forget_model("m")
    assert tracking.aliases("m") == {}
    assert tracking.versions() == []


def test_state_tells_the_last_failure_until_it_works_again(store: SqlRunStore) -> None:
    tracking = store.platform.tracking
    assert tracking.state().success_time is None
    tracking.failed("away")
    assert tracking.state().failure == "away"
    assert tracking.state().failure_time is not None
    tracking.succeeded()
    found = tracking.state()
    assert found.failure == ""
    assert found.success_time is not None
    assert found.failure_time is not None


def test_refusal_is_in_the_audit_log(store: SqlRunStore) -> None:
    store.platform.tracking.audit_refusal("a", {"reason": "no"})
    (entry,) = store.audit_log.entries()
    assert (entry.action, entry.target_kind, entry.target) == ("mlflow.refuse", "adapter", "a")
