"""What a person asks of a run, as rows."""

import pytest

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore


@pytest.fixture(autouse=True)
def _run(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", {"name": "demo"})


def _actions(store: SqlRunStore) -> list[str]:
    return [entry.action for entry in store.audit_log.entries()]


def _kinds(store: SqlRunStore) -> list[str]:
    return [event.kind for event in store.events("r-1")]


def test_pause_then_resume_waits_for_its_turn_again(store: SqlRunStore) -> None:
    assert store.request_pause("r-1").pause_requested
    assert store.request_pause("r-1").pause_requested
    assert store.mark_paused("r-1")
    assert not store.mark_paused("r-1")
    assert store.get_run("r-1").status is RunStatus.PAUSED
    assert store.open_runs() == []
    resumed = store.request_resume("r-1")
    assert (resumed.status, resumed.pause_requested) == (RunStatus.QUEUED, False)
    assert _kinds(store) == ["run.queued", "run.paused", "run.resumed"]
    assert _actions(store) == ["run.create", "run.pause", "run.resume"]


def test_resume_before_the_run_has_stopped_takes_the_pause_back(store: SqlRunStore) -> None:
    store.change_status("r-1", RunStatus.RUNNING, "run.started")
    store.request_pause("r-1")
    assert store.request_resume("r-1").status is RunStatus.RUNNING
    assert not store.mark_paused("r-1")


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_pause_and_resume_of_an_ended_run_are_refused(store: SqlRunStore, status: RunStatus) -> None:
    store.change_status("r-1", status, "run.x")
    with pytest.raises(PreconditionError, match="nothing to pause"):
        store.request_pause("r-1")
    with pytest.raises(PreconditionError, match="only a paused run"):
        store.request_resume("r-1")


def test_resume_of_a_running_run_is_refused(store: SqlRunStore) -> None:
    store.change_status("r-1", RunStatus.RUNNING, "run.started")
    with pytest.raises(PreconditionError, match="is running: only a paused run"):
        store.request_resume("r-1")


def test_cancel_is_audited_once_and_bars_pausing(store: SqlRunStore) -> None:
    store.request_cancel("r-1")
    store.request_cancel("r-1")
    assert _actions(store) == ["run.create", "run.cancel"]
    with pytest.raises(PreconditionError, match="being cancelled"):
        store.request_pause("r-1")


def test_cancel_of_a_paused_run_is_for_the_leader_to_do(store: SqlRunStore) -> None:
    store.request_pause("r-1")
    store.mark_paused("r-1")
    store.request_cancel("r-1")
    [found] = store.open_runs()
    assert (found.run_id, found.status, found.cancel_requested) == ("r-1", RunStatus.PAUSED, True)


def test_retry_opens_an_ended_run_as_another_attempt(store: SqlRunStore) -> None:
    store.put_value("r-1", "audit_bundle", {"uri": "x"})
    store.change_status("r-1", RunStatus.FAILED, "run.failed", error_code="INTERNAL", error_message="why")
    again = store.retry_run("r-1", "train_1")
    assert (again.status, again.attempt, again.workflow_id) == (RunStatus.QUEUED, 2, "r-1~2")
    assert (again.retry_from, again.end_time, again.error_code) == ("train_1", None, "")
    assert store.get_value("r-1", "audit_bundle") is None
    event = store.events("r-1")[-1]
    assert (event.kind, event.data["ended_as"]) == ("run.retried", "failed")
    assert _actions(store)[-1] == "run.retry"
    with pytest.raises(PreconditionError, match="is queued: only a run that has ended"):
        store.retry_run("r-1", "")


def test_requests_for_a_run_that_there_is_not_are_not_found(store: SqlRunStore) -> None:
    for ask in (store.request_pause, store.request_resume, lambda run_id: store.retry_run(run_id, "")):
        with pytest.raises(NotFoundError):
            ask("r-none")


def test_retry_of_a_run_that_is_not_as_it_was_seen_is_refused(store: SqlRunStore) -> None:
    seen = store.get_run("r-1")
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", {})
    with pytest.raises(PreconditionError, match="just now"):
        store.retry_run("r-1", "", seen=seen)
    assert store.get_run("r-1").attempt == 1
    now = store.get_run("r-1")
    assert store.retry_run("r-1", "verdict", seen=now).attempt == 2
