"""The application layer, without HTTP or gRPC around it."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    ValignError,
)
from services.orchestrator import application as module
from services.orchestrator.application import new_run_id
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.looks import ServiceFacts
from services.orchestrator.ports import CompletionRecord, EventRecord, RunStatus
from services.orchestrator.store import SqlRunStore
from tests.fakes.orchestrator import World, world
from tests.fakes.studies import study_json

STUDY = "name: demo\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


async def _collect(here: World, run_id: str, after: int = 0) -> list[EventRecord]:
    return [event async for event in here.application.watch(run_id, after)]


async def test_check_study_fills_in_the_papers_defaults(here: World) -> None:
    study = await here.application.check_study(STUDY)
    assert study["principles_per_topic"] == 100
    assert study["lora"]["rank"] == 16
    assert len(study["topics"]) == 6
    assert here.store.list_runs() == ([], "")


async def test_check_study_unknown_key_names_its_line(here: World) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await here.application.check_study("name: demo\nprincipels: 3\n")
    assert caught.value.details["errors"][0]["line"] == 2


async def test_check_study_lone_surrogate_is_invalid(here: World) -> None:
    with pytest.raises(InvalidInputError):
        await here.application.check_study('name: demo\ndescription: "\\ud800"\n')


async def test_create_run_stores_and_enqueues_it(here: World) -> None:
    run, created = await here.application.create_run(STUDY)
    assert created
    assert here.queue.enqueued == [run.run_id]
    assert here.store.get_run(run.run_id).study["principles_per_topic"] == 100


async def test_create_run_same_key_at_the_same_time_makes_one_run(here: World) -> None:
    results = await asyncio.gather(*(here.application.create_run(STUDY, "key") for _ in range(10)))
    assert len({run.run_id for run, _ in results}) == 1
    assert sum(created for _, created in results) == 1
    assert len(here.queue.enqueued) == 1


async def test_create_run_same_key_other_spelling_of_the_study_is_the_same_run(here: World) -> None:
    first, _ = await here.application.create_run(STUDY, "key")
    again, created = await here.application.create_run('{"seed": 0, "name": "demo"}', "key")
    assert (again.run_id, created) == (first.run_id, False)


async def test_create_run_same_key_other_study_is_a_conflict(here: World) -> None:
    await here.application.create_run(STUDY, "key")
    with pytest.raises(ConflictError):
        await here.application.create_run("name: other\n", "key")
    assert len(here.queue.enqueued) == 1


@pytest.mark.parametrize("key", ["x" * 256, "a\nb", "\x00"])
async def test_create_run_bad_key_is_invalid(here: World, key: str) -> None:
    with pytest.raises(InvalidInputError, match="idempotency key"):
        await here.application.create_run(STUDY, key)


async def test_create_run_queue_away_then_again_with_the_key_hands_it_over(here: World) -> None:
    here.queue.error = NotReadyError("the queue is away")
    with pytest.raises(NotReadyError):
        await here.application.create_run(STUDY, "key")
    run, created = await here.application.create_run(STUDY, "key")
    assert not created
    assert here.queue.enqueued == [run.run_id]


async def test_create_run_taken_ids_are_drawn_again(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["r-1", "r-1", "r-1", "r-2"])
    monkeypatch.setattr(module, "new_run_id", lambda now: next(ids))
    await here.application.create_run(STUDY)
    run, created = await here.application.create_run(STUDY)
    assert (run.run_id, created) == ("r-2", True)


@settings(deadline=None)
@given(st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))
def test_new_run_id_is_safe_and_sorts_by_time(now: datetime) -> None:
    first, later = new_run_id(now), new_run_id(now + timedelta(seconds=1))
    assert re.fullmatch(r"r-\d{8}-[0-9a-z]{6}", first)
    assert first < later


async def test_list_runs_huge_page_size_counts_as_the_highest(here: World) -> None:
    for number in range(3):
        here.store.create_run(f"r-{number}", "demo", {})
    runs, token = await here.application.list_runs(page_size=10**18)
    assert (len(runs), token) == (3, "")
    with pytest.raises(InvalidInputError):
        await here.application.list_runs(page_size=0)
    with pytest.raises(InvalidInputError, match="page_token"):
        await here.application.list_runs(page_token="nonsense")  # noqa: S106


@pytest.mark.parametrize("run_id", ["", "r-none", "é", "运行", "a/b", "../x", "\x00", "x" * 65, "' OR 1=1"])
async def test_get_run_odd_ids_are_not_found(here: World, run_id: str) -> None:
    for call in (
        here.application.get_run,
        here.application.cancel_run,
        here.application.report,
        here.application.report_html,
        here.application.principles,
    ):
        with pytest.raises(NotFoundError):
            await call(run_id)
    with pytest.raises(NotFoundError):
        await _collect(here, run_id)


async def test_cancel_run_asks_the_queue(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    cancelled = await here.application.cancel_run(run.run_id)
    assert cancelled.status is RunStatus.CANCELLED
    assert cancelled.cancel_requested
    assert here.queue.cancelled == [run.run_id]


async def test_cancel_run_that_has_ended_does_nothing(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    here.store.update_run(run.run_id, status=RunStatus.SUCCEEDED)
    assert (await here.application.cancel_run(run.run_id)).status is RunStatus.SUCCEEDED
    assert here.queue.cancelled == []


async def test_watch_gives_stored_then_new_events_until_the_end(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    here.store.add_event(run.run_id, "run.started")
    watching = asyncio.create_task(_collect(here, run.run_id))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(here.store.add_event, run.run_id, "stage.started", {"stage": "uncover"})
    await asyncio.to_thread(here.store.change_status, run.run_id, RunStatus.SUCCEEDED, "run.succeeded")
    events = await asyncio.wait_for(watching, 10)
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert events[-1].kind == "run.succeeded"
    assert [event.number for event in await _collect(here, run.run_id, after=2)] == [3, 4]


async def test_watch_event_of_this_process_arrives_without_polling(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_S", 60.0)
    run, _ = await here.application.create_run(STUDY)
    watching = asyncio.create_task(_collect(here, run.run_id))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(here.store.change_status, run.run_id, RunStatus.FAILED, "run.failed")
    assert len(await asyncio.wait_for(watching, 10)) == 2


async def test_watch_event_of_another_process_arrives_by_polling(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    watching = asyncio.create_task(_collect(here, run.run_id))
    await asyncio.sleep(0.2)
    other = SqlRunStore(here.database_url)
    await asyncio.to_thread(other.change_status, run.run_id, RunStatus.CANCELLED, "run.cancelled")
    other.close()
    assert len(await asyncio.wait_for(watching, 10)) == 2


async def test_watch_more_events_than_one_read_gives_all(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVENTS_A_READ", 3)
    run, _ = await here.application.create_run(STUDY)
    for kind in ["x"] * 9:
        here.store.add_event(run.run_id, kind)
    here.store.change_status(run.run_id, RunStatus.FAILED, "run.failed")
    assert [event.number for event in await _collect(here, run.run_id)] == list(range(1, 12))


async def test_watch_ended_run_without_a_last_event_ends(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    here.store.update_run(run.run_id, status=RunStatus.FAILED)
    assert len(await asyncio.wait_for(_collect(here, run.run_id), 10)) == 1


async def test_watch_run_that_failed_and_was_retried_goes_on_to_its_second_end(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    here.store.change_status(run.run_id, RunStatus.FAILED, "run.failed")
    here.store.retry_run(run.run_id, "")
    watching = asyncio.create_task(_collect(here, run.run_id))
    await asyncio.sleep(0.5)
    here.store.change_status(run.run_id, RunStatus.SUCCEEDED, "run.succeeded")
    kinds = [event.kind for event in await asyncio.wait_for(watching, 10)]
    assert kinds == ["run.queued", "run.failed", "run.retried", "run.succeeded"]


async def test_watch_close_ends_it_and_unsubscribes(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    watching = asyncio.create_task(_collect(here, run.run_id))
    await asyncio.sleep(0.2)
    here.application.close()
    assert len(await asyncio.wait_for(watching, 10)) == 1
    assert here.store._listeners == set()


async def test_create_run_while_not_ready_stores_nothing(here: World) -> None:
    here.queue.not_ready = NotReadyError("starting")
    with pytest.raises(NotReadyError):
        await here.application.create_run(STUDY)
    assert await here.application.list_runs() == ([], "")


async def test_report_before_the_end_is_not_found(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    with pytest.raises(NotFoundError, match="queued"):
        await here.application.report(run.run_id)


async def test_report_and_page_come_from_the_artifacts(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    report = here.artifacts.put_bytes("reports/r.json", b'{"schema_version": "1.0"}')
    page = here.artifacts.put_bytes("reports/r.html", b"<!doctype html>")
    here.store.update_run(run.run_id, report_uri=report.uri, report_html_uri=page.uri)
    assert await here.application.report(run.run_id) == {"schema_version": "1.0"}
    assert await here.application.report_html(run.run_id) == b"<!doctype html>"


async def test_principles_are_those_that_were_usable(here: World) -> None:
    run, _ = await here.application.create_run(STUDY)
    good = CompletionRecord("original", "健康", 0, 1, "1. A.", "A.", "ok", "stop", 3, "", "")
    bad = CompletionRecord("original", "健康", 0, 0, "I can't", "", "refusal", "stop", 3, "", "")
    here.store.add_completions(run.run_id, [good, bad])
    assert await here.application.principles(run.run_id) == [good]
    assert await here.application.principles(run.run_id, "original", "健康") == [good]
    assert await here.application.principles(run.run_id, arm="aligned") == []


async def test_packaged_data_can_be_listed_and_read(here: World) -> None:
    sets = await here.application.reference_sets()
    assert {"ten-commandments", "gdpr-article-5"} <= {item.id for item in sets}
    for item in sets:
        assert (await here.application.reference_set(item.id))["title"] == item.title
    for item in await here.application.prompt_sets():
        assert (await here.application.prompt_set(item.id))["version"] == item.version
    for study in await here.application.shipped_studies():
        assert (await here.application.shipped_study(study.id)).text == study.text
    for call in (
        here.application.reference_set,
        here.application.prompt_set,
        here.application.shipped_study,
    ):
        with pytest.raises(NotFoundError, match="there are"):
            await call("../secrets")


class _Probe:
    target = "127.0.0.1:1"

    def __init__(self, name: str, result: ServiceFacts | Exception | float) -> None:
        self.name = name
        self._result = result

    async def look(self) -> ServiceFacts:
        if isinstance(self._result, Exception):
            raise self._result
        if isinstance(self._result, float):
            await asyncio.sleep(self._result)
            return ServiceFacts(True)
        return self._result


async def test_system_asks_all_at_once_and_none_for_longer_than_the_timeout(tmp_path: Path) -> None:
    probes = [
        _Probe("generator", ServiceFacts(True, "m", "f", "1", "cpu")),
        _Probe("embedder", NotReadyError("connection refused")),
        _Probe("slow", 30.0),
        _Probe("slower", 60.0),
    ]
    with world(tmp_path, probes, probe_timeout_s=0.3) as here:
        started = time.perf_counter()
        states = await here.application.system()
        assert time.perf_counter() - started < 2
    assert [state.reachable for state in states] == [True, False, False, False]
    assert states[0].facts.model == "m"
    assert states[0].latency_s is not None
    assert states[1].error == "connection refused"
    assert "0.3 s" in states[2].error


async def test_system_unexpected_error_is_not_swallowed(tmp_path: Path) -> None:
    with world(tmp_path, [_Probe("generator", RuntimeError("bug"))]) as here, pytest.raises(RuntimeError):
        await here.application.system()
    assert not issubclass(RuntimeError, ValignError)


async def test_create_run_that_promotes_by_itself_takes_the_scope_promote(here: World) -> None:
    text = json.dumps(study_json(promotion={"automatic": True}))
    runner = Principal("key:runner", frozenset({Scope.RUN}))
    promoter = Principal("key:promoter", frozenset({Scope.RUN, Scope.PROMOTE}))
    with acting_as(runner):
        with pytest.raises(ForbiddenError, match="'promote'"):
            await here.application.create_run(text)
        assert (await here.application.list_runs())[0] == []
        # What starts nothing may be looked at, and a study that leaves the word to people may be run.
        await here.application.check_study(text)
        await here.application.create_run(json.dumps(study_json()))
    with acting_as(promoter):
        record, _ = await here.application.create_run(text)
    assert record.created_by == "key:promoter"
