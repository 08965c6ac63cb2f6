"""SqlRunStore on a real SQLite file."""

import math
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.errors import ConflictError, InvalidInputError, NotFoundError
from services.orchestrator.ports import CompletionRecord, RunStatus
from services.orchestrator.store import SqlRunStore, tokens

STUDY = {"name": "demo", "seed": 0}


def _completion(index: int = 0, draw: int = 0, **changes: Any) -> CompletionRecord:
    fields: dict[str, Any] = {
        "arm": "original",
        "topic_id": "education",
        "index": index,
        "draw": draw,
        "text": "1. Be fair.",
        "principle": "Be fair.",
        "outcome": "ok",
        "finish_reason": "stop",
        "completion_tokens": 5,
        "adapter": "",
        "adapter_sha256": "",
    }
    return CompletionRecord(**{**fields, **changes})


def test_create_run_stores_a_queued_run_with_its_first_event(store: SqlRunStore) -> None:
    run, created = store.create_run("r-1", "demo", STUDY)
    assert created
    assert run == store.get_run("r-1")
    assert (run.status, run.stage, run.study, run.end_time) == (RunStatus.QUEUED, "", STUDY, None)
    assert run.create_time.tzinfo is not None
    [event] = store.events("r-1")
    assert (event.number, event.kind) == (1, "run.queued")


def test_change_status_sets_it_and_tells_once(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    assert store.change_status("r-1", RunStatus.RUNNING, "run.started", {"name": "demo"})
    assert not store.change_status("r-1", RunStatus.RUNNING, "run.started")
    assert store.change_status("r-1", RunStatus.FAILED, "run.failed", error_code="INTERNAL")
    assert not store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled", error_code="CANCELLED")
    run = store.get_run("r-1")
    assert (run.status, run.error_code, run.end_time is None) == (RunStatus.FAILED, "INTERNAL", False)
    assert [event.kind for event in store.events("r-1")] == ["run.queued", "run.started", "run.failed"]


def test_change_status_event_that_cannot_be_stored_leaves_the_status(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    with pytest.raises(Exception, match="not JSON serializable"):
        store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", {"bad": object()})
    assert store.get_run("r-1").status is RunStatus.QUEUED


def test_change_status_of_many_at_once_one_wins(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    ends = [(RunStatus.SUCCEEDED, "run.succeeded"), (RunStatus.CANCELLED, "run.cancelled")] * 4
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda end: store.change_status("r-1", *end), ends))
    assert won.count(True) == 1
    assert len(store.events("r-1")) == 2
    assert store.get_run("r-1").status is ends[won.index(True)][0]


def test_change_status_unknown_run_is_not_found(store: SqlRunStore) -> None:
    with pytest.raises(NotFoundError):
        store.change_status("r-9", RunStatus.RUNNING, "run.started")


def test_create_run_same_key_same_study_returns_the_first_run(store: SqlRunStore) -> None:
    first, _ = store.create_run("r-1", "demo", STUDY, "key")
    again, created = store.create_run("r-2", "demo", dict(reversed(STUDY.items())), "key")
    assert (again.run_id, created) == (first.run_id, False)
    with pytest.raises(NotFoundError):
        store.get_run("r-2")


def test_create_run_same_key_other_study_is_a_conflict(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY, "key")
    with pytest.raises(ConflictError, match="r-1"):
        store.create_run("r-2", "demo", {**STUDY, "seed": 1}, "key")
    assert [run.run_id for run in store.list_runs()[0]] == ["r-1"]


def test_create_run_taken_id_is_a_conflict(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    with pytest.raises(ConflictError) as caught:
        store.create_run("r-1", "other", STUDY)
    assert caught.value.details == {"run_id": "r-1"}
    assert store.get_run("r-1").name == "demo"


def test_create_run_same_key_from_many_threads_makes_one_run(store: SqlRunStore) -> None:
    barrier = threading.Barrier(12)

    def create(number: int) -> tuple[str, bool]:
        barrier.wait()
        run, created = store.create_run(f"r-{number}", "demo", STUDY, "key")
        return run.run_id, created

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(create, range(12)))
    assert len({run_id for run_id, _ in results}) == 1
    assert sum(created for _, created in results) == 1
    assert len(store.list_runs()[0]) == 1


def test_create_run_without_a_key_makes_a_run_each_time(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.create_run("r-2", "demo", STUDY)
    assert len(store.list_runs()[0]) == 2


def test_add_event_from_many_threads_and_stores_numbers_without_gaps(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    # A second store stands for a second process: its own engine, its own connections.
    other = SqlRunStore(store._engine.url.render_as_string(hide_password=False))

    def add(number: int) -> list[int]:
        chosen = store if number % 2 else other
        return [chosen.add_event("r-1", "stage.progress", {"n": number}).number for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        returned = [number for numbers in pool.map(add, range(8)) for number in numbers]
    other.close()
    assert sorted(returned) == list(range(2, 202))
    assert [event.number for event in store.events("r-1")] == list(range(1, 202))


def test_add_event_unknown_run_is_not_found(store: SqlRunStore) -> None:
    with pytest.raises(NotFoundError):
        store.add_event("r-none", "run.started")


def test_add_event_numbers_that_are_not_finite_become_null(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    event = store.add_event("r-1", "training.progress", {"loss": math.nan, "more": [math.inf, 1.5]})
    assert event.data == {"loss": None, "more": [None, 1.5]}
    assert store.events("r-1", after=1)[0].data == event.data


def test_add_event_stage_progress_sets_the_runs_progress(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.add_event("r-1", "stage.progress", {"stage": "uncover", "done": 3, "total": 10})
    store.add_event("r-1", "stage.progress", {"stage": "quantify", "done": 1, "total": 2})
    store.add_event("r-1", "stage.progress", {"stage": "uncover", "done": 1, "total": 5, "topic": "health"})
    store.add_event("r-1", "stage.progress", {"stage": "uncover", "done": 4, "total": 10})
    assert store.get_run("r-1").progress == {
        "uncover": {"done": 4, "total": 10},
        "quantify": {"done": 1, "total": 2},
    }


def test_events_after_and_limit_give_that_part(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    for _ in range(5):
        store.add_event("r-1", "x")
    assert [event.number for event in store.events("r-1", after=2, limit=3)] == [3, 4, 5]
    assert store.events("r-1", after=6) == []
    with pytest.raises(NotFoundError):
        store.events("r-none")


def test_update_run_sets_columns(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    run = store.update_run("r-1", status=RunStatus.RUNNING, stage="uncover", identity="ab")
    assert (run.status, run.stage, run.identity) == (RunStatus.RUNNING, "uncover", "ab")
    with pytest.raises(ValueError, match="nonsense"):
        store.update_run("r-1", nonsense=1)
    with pytest.raises(NotFoundError):
        store.update_run("r-none", stage="x")


def test_update_run_that_has_ended_keeps_its_outcome(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    ended = store.update_run("r-1", status=RunStatus.CANCELLED)
    assert ended.end_time is not None
    later = store.update_run(
        "r-1", status=RunStatus.SUCCEEDED, stage="report", error_code="INTERNAL", report_uri="file:///x"
    )
    assert (later.status, later.stage, later.error_code) == (RunStatus.CANCELLED, "", "")
    assert later.end_time == ended.end_time
    assert later.report_uri == "file:///x"


def test_request_cancel_marks_only_runs_that_have_not_ended(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    assert store.request_cancel("r-1").cancel_requested
    store.create_run("r-2", "demo", STUDY)
    store.update_run("r-2", status=RunStatus.SUCCEEDED)
    assert not store.request_cancel("r-2").cancel_requested
    with pytest.raises(NotFoundError):
        store.request_cancel("r-none")


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 200])
def test_list_runs_pages_give_every_run_once_newest_first(store: SqlRunStore, page_size: int) -> None:
    ids = [f"r-{number}" for number in range(7)]
    for run_id in ids:
        store.create_run(run_id, "demo", STUDY)
    found, token = [], ""
    while True:
        runs, token = store.list_runs(page_size=page_size, page_token=token)
        assert len(runs) <= page_size
        found += [run.run_id for run in runs]
        if not token:
            break
    assert found == ids[::-1]


def test_list_runs_new_run_between_pages_does_not_shift_them(store: SqlRunStore) -> None:
    for number in range(4):
        store.create_run(f"r-{number}", "demo", STUDY)
    first, token = store.list_runs(page_size=2)
    store.create_run("r-new", "demo", STUDY)
    second, _ = store.list_runs(page_size=2, page_token=token)
    assert [run.run_id for run in first + second] == ["r-3", "r-2", "r-1", "r-0"]


def test_list_runs_status_filters(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.create_run("r-2", "demo", STUDY)
    store.update_run("r-1", status=RunStatus.RUNNING)
    assert [run.run_id for run in store.list_runs(RunStatus.RUNNING)[0]] == ["r-1"]
    assert store.list_runs(RunStatus.FAILED) == ([], "")


@pytest.mark.parametrize("page_size", [0, -1, 201, 10**12])
def test_list_runs_page_size_out_of_range_is_invalid(store: SqlRunStore, page_size: int) -> None:
    with pytest.raises(InvalidInputError, match="page_size"):
        store.list_runs(page_size=page_size)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_token_decode_of_any_text_is_invalid_input_or_a_token(text: str) -> None:
    try:
        decoded = tokens.decode(text)
    except InvalidInputError:
        return
    assert tokens.encode(*decoded) == text


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)), st.text(max_size=40))
def test_token_round_trip(time: datetime, run_id: str) -> None:
    assert tokens.decode(tokens.encode(time, run_id)) == (time, run_id)


def test_add_completions_stored_key_is_left_as_it_is(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.add_completions("r-1", [_completion(0), _completion(1)])
    store.add_completions("r-1", [_completion(1, text="other"), _completion(2)])
    found = store.completions("r-1")
    assert [record.index for record in found] == [0, 1, 2]
    assert found[1].text == "1. Be fair."
    store.add_completions("r-1", [])


def test_add_completions_unknown_run_is_not_found(store: SqlRunStore) -> None:
    with pytest.raises(NotFoundError):
        store.add_completions("r-none", [_completion()])
    with pytest.raises(NotFoundError):
        store.put_value("r-none", "key", 1)


def test_add_completions_ten_thousand_at_once_are_stored(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.add_completions("r-1", [_completion(index) for index in range(10_000)])
    assert len(store.completions("r-1", arm="original")) == 10_000


def test_completions_filter_and_order(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    records = [
        _completion(1, topic_id="健康"),
        _completion(0, draw=1, topic_id="健康"),
        _completion(0, draw=0, topic_id="健康", principle="", outcome="refusal"),
        _completion(0, topic_id="العدالة"),
        _completion(0, arm="aligned", topic_id="健康"),
    ]
    store.add_completions("r-1", records)
    found = store.completions("r-1", arm="original", topic_id="健康")
    assert [(record.index, record.draw) for record in found] == [(0, 0), (0, 1), (1, 0)]
    assert [record.arm for record in store.completions("r-1")] == ["aligned", *["original"] * 4]
    assert store.completions("r-1", topic_id="العدالة") == [records[3]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=50), index=st.integers(0, 2**31 - 1))
def test_completions_any_text_comes_back_as_it_was(store: SqlRunStore, text: str, index: int) -> None:
    run_id = uuid.uuid4().hex
    if store._engine.dialect.name == "postgresql":
        # Its text has no NUL: the store writes another character.
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    store.create_run(run_id, text, {"name": text})
    record = _completion(index, text=text, principle=text)
    store.add_completions(run_id, [record])
    assert store.completions(run_id) == [record]
    assert store.get_run(run_id).name == text


def test_values_overwrite_and_are_none_when_missing(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    assert store.get_value("r-1", "weights") is None
    store.put_value("r-1", "weights", {"education": 1.0})
    store.put_value("r-1", "weights", {"education": 0.5, "bad": math.nan})
    assert store.get_value("r-1", "weights") == {"education": 0.5, "bad": None}
    store.put_value("r-1", "none", None)
    assert store.get_value("r-1", "none") is None


def test_reading_while_another_writes_sees_what_was_committed(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    stop = threading.Event()
    faults: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                numbers = [event.number for event in store.events("r-1")]
                assert numbers == list(range(1, len(numbers) + 1))
        except BaseException as error:
            faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(100):
        store.add_event("r-1", "x")
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults


def test_subscribe_tells_of_each_change_until_it_ends(store: SqlRunStore) -> None:
    heard: list[str] = []
    unsubscribe = store.subscribe(heard.append)
    store.create_run("r-1", "demo", STUDY)
    store.add_event("r-1", "x")
    store.update_run("r-1", stage="uncover")
    assert heard == ["r-1"] * 3
    unsubscribe()
    store.add_event("r-1", "x")
    assert heard == ["r-1"] * 3


def test_store_opened_again_has_what_was_stored(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY, "key")
    store.close()
    again = SqlRunStore(store._engine.url.render_as_string(hide_password=False))
    again.migrate()
    again.ping()
    assert again.get_run("r-1").name == "demo"
    assert again.create_run("r-2", "demo", STUDY, "key")[1] is False
    again.close()


def test_change_status_that_ends_a_run_is_in_the_audit_log_with_the_verdict(store: SqlRunStore) -> None:
    store.create_run("r-1", "demo", STUDY)
    store.change_status("r-1", RunStatus.RUNNING, "run.started")
    end = {"decision": "hold", "report_uri": "file:///r", "overall": {"after": 0.5}}
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", end)
    store.change_status("r-1", RunStatus.FAILED, "run.failed", {"code": "INTERNAL"})
    entries = [(entry.action, entry.target, entry.details) for entry in store.audit_log.entries()]
    assert [action for action, _, _ in entries] == ["run.create", "run.succeeded"]
    assert entries[-1][1:] == ("r-1", '{"decision":"hold","report_uri":"file:///r"}')
