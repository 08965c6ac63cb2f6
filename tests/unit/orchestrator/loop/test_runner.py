"""The loop on DBOS, in this process."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.common.errors import InvalidInputError, NotReadyError
from services.common.rpc.fence import Epoch
from services.orchestrator.loop import looking
from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.loop.workflows import WorkflowSteps
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore
from tests.fakes.studies import study_json
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@asynccontextmanager
async def launched(world) -> AsyncIterator[LoopRunner]:
    url = f"sqlite:///{world.folder}/workflows.db"
    runner = LoopRunner(world.store, world.artifacts, world.connect, LoopConfig(url, queue_poll_s=0.05))
    await runner.launch()
    try:
        yield runner
    finally:
        await runner.shutdown()


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def ended(world, run_id: str) -> Callable[[], bool]:
    return lambda: world.store.get_run(run_id).status.ended


def create(world, run_id: str = "r-1") -> None:
    study = study_json()
    world.store.create_run(run_id, study["name"], study)


async def test_enqueue_two_runs_both_end_one_after_the_other(world) -> None:
    async with launched(world) as runner:
        create(world, "r-1")
        create(world, "r-2")
        await runner.enqueue("r-1")
        await runner.enqueue("r-2")
        await runner.enqueue("r-1")
        await until(ended(world, "r-2"))
    assert world.report("r-1").topics
    assert world.report("r-2").topics
    first, second = world.store.get_run("r-1"), world.store.get_run("r-2")
    assert first.identity == second.identity
    started = world.events("run.started", "r-2")[0]
    assert first.end_time <= started.time


async def test_enqueue_before_launch_and_after_shutdown_is_not_ready(world) -> None:
    create(world)
    runner = LoopRunner(world.store, world.artifacts, world.connect, LoopConfig("sqlite://"))
    with pytest.raises(NotReadyError):
        await runner.enqueue("r-1")
    await runner.cancel("r-1")
    async with launched(world) as runner:
        runner.check_ready()
        await until(ended(world, "r-1"))
    with pytest.raises(NotReadyError):
        await runner.enqueue("r-1")
    with pytest.raises(NotReadyError):
        runner.check_ready()


async def test_cancel_asked_twice_at_once_tells_it_once(world) -> None:
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        world.store.request_cancel("r-1")
        await asyncio.gather(runner.cancel("r-1"), runner.cancel("r-1"))
        await until(ended(world, "r-1"))
    assert len(world.events("run.cancelled")) == 1
    assert world.events()[-1].kind == "run.cancelled"


async def test_launch_run_that_was_never_handed_over_begins_it(world) -> None:
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
    assert world.report()


async def test_shutdown_in_generation_run_goes_on_at_next_launch(world) -> None:
    world.fakes.generator.latency_s = 0.02
    world.fakes.generator.concurrency = 1
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        await until(lambda: len(world.store.completions("r-1", "original")) > 5)
    assert world.store.get_run("r-1").status is RunStatus.RUNNING
    world.fakes.generator.latency_s = 0.0
    async with launched(world):
        await until(ended(world, "r-1"))
    assert world.report()
    assert len(world.events("run.started")) == 1
    kinds = [event.kind for event in world.events()]
    assert kinds[:3] == ["run.queued", "run.started", "stage.started"]
    assert kinds[-1] == "run.succeeded"


async def test_shutdown_in_training_attaches_at_next_launch(world) -> None:
    world.fakes.trainer.step_s = 0.2
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        await until(lambda: bool(world.fakes.trainer.jobs))
    assert all(job.state.state != 5 for job in world.fakes.trainer.jobs.values())
    async with launched(world):
        await until(ended(world, "r-1"))
    assert world.fakes.trainer.attached == 1
    assert len(world.fakes.trainer.jobs) == 2


async def test_cancel_queued_run_ends_at_once(world) -> None:
    world.fakes.trainer.step_s = 5
    async with launched(world) as runner:
        create(world, "r-1")
        create(world, "r-2")
        await runner.enqueue("r-1")
        await until(lambda: world.store.get_run("r-1").status is RunStatus.RUNNING)
        await runner.enqueue("r-2")
        for run_id in ("r-2", "r-1"):
            world.store.request_cancel(run_id)
            await runner.cancel(run_id)
        assert world.store.get_run("r-2").status is RunStatus.CANCELLED
        await until(ended(world, "r-1"))
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    assert world.events("run.started", "r-2") == []


async def test_cancel_asked_while_down_ends_cancelled_at_launch(world) -> None:
    world.fakes.trainer.step_s = 5
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        await until(lambda: bool(world.fakes.trainer.jobs))
    world.store.request_cancel("r-1")
    async with launched(world):
        await until(ended(world, "r-1"))
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    assert [job.state.state for job in world.fakes.trainer.jobs.values()] == [5]


async def test_services_down_run_waits_and_says_so(world) -> None:
    world.fakes.generator.serving = False
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        await until(lambda: bool(world.events("service.waiting")))
        world.fakes.generator.serving = True
        await until(ended(world, "r-1"))
    assert world.report()
    assert world.events("service.waiting")[0].data["service"] == "generator"


async def test_launch_run_of_another_loop_version_fails_and_says_so(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fakes.trainer.step_s = 5
    create(world)
    async with launched(world) as runner:
        await runner.enqueue("r-1")
        await until(lambda: bool(world.fakes.trainer.jobs))
    monkeypatch.setattr(looking, "LOOP_VERSION", "valign-loop-999")
    async with launched(world):
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "valign-loop-999" in run.error_message


def steps_of(world, run_id: str = "r-1") -> list[str]:
    reader = WorkflowSteps(f"sqlite:///{world.folder}/workflows.db")
    try:
        return [step.name for step in reader.steps(world.store.get_run(run_id))]
    finally:
        reader.close()


async def test_pause_in_generation_then_resume_asks_for_no_finished_draw(world) -> None:
    world.fakes.generator.latency_s = 0.02
    world.fakes.generator.concurrency = 1
    create(world)
    async with launched(world) as runner:
        await until(lambda: len(world.store.completions("r-1", "original")) > 5)
        world.store.request_pause("r-1")
        runner.nudge()
        await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
        stored = world.store.completions("r-1")
        assert world.events()[-1].kind == "run.paused"
        assert steps_of(world) == ["prepare"]
        await asyncio.sleep(0.5)
        assert world.store.completions("r-1") == stored
        world.fakes.generator.latency_s = 0.0
        world.store.request_resume("r-1")
        await until(ended(world, "r-1"))
    assert world.report()
    # What was on its way when the pause came may be asked for again; what was stored never is.
    again = set(world.drawn_twice())
    assert len(again) <= 2
    assert again.isdisjoint(f"base|P1|{one.topic_id}/{one.index}/{one.draw}" for one in stored)
    assert not runner.cut_off.is_set()


async def test_pause_in_training_lets_the_job_end_and_resume_attaches(world) -> None:
    world.fakes.trainer.step_s = 0.2
    create(world)
    async with launched(world):
        await until(lambda: bool(world.fakes.trainer.jobs))
        world.store.request_pause("r-1")
        await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
        [job] = world.fakes.trainer.jobs.values()
        await until(lambda: job.state.state == 3)
        world.store.request_resume("r-1")
        await until(ended(world, "r-1"))
    assert world.report()
    assert world.fakes.trainer.attached == 1


async def test_pause_survives_a_restart_and_cancel_ends_it_with_its_job(world) -> None:
    world.fakes.trainer.step_s = 5
    create(world)
    async with launched(world):
        await until(lambda: bool(world.fakes.trainer.jobs))
        world.store.request_pause("r-1")
        await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
    async with launched(world):
        await asyncio.sleep(0.5)
        assert world.store.get_run("r-1").status is RunStatus.PAUSED
        world.store.request_cancel("r-1")
        await until(ended(world, "r-1"))
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    assert [job.state.state for job in world.fakes.trainer.jobs.values()] == [5]


async def test_pause_of_a_run_that_waits_keeps_it_from_beginning(world) -> None:
    create(world)
    world.store.request_pause("r-1")
    async with launched(world):
        await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
        world.store.request_resume("r-1")
        await until(ended(world, "r-1"))
    assert world.report()


async def test_retry_of_a_failed_training_begins_the_job_anew_and_draws_nothing_again(world) -> None:
    world.fakes.trainer.fail_with = ("INTERNAL", "out of memory")
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
        assert world.store.get_run("r-1").error_code == "INTERNAL"
        recorded = steps_of(world)
        assert recorded[-1] == "train_1"
        world.fakes.trainer.fail_with = None
        world.store.retry_run("r-1", "train_1")
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.attempt, run.workflow_id) == (RunStatus.SUCCEEDED, 2, "r-1~2")
    assert world.report()
    assert world.drawn_twice() == []
    assert world.fakes.trainer.restarted == 1
    assert steps_of(world)[: len(recorded)] == recorded
    assert [event.kind for event in world.events()].count("run.retried") == 1


async def test_retry_of_a_cancelled_run_goes_on_after_its_last_step(world) -> None:
    world.fakes.trainer.step_s = 5
    create(world)
    async with launched(world):
        await until(lambda: bool(world.fakes.trainer.jobs))
        world.store.request_cancel("r-1")
        await until(ended(world, "r-1"))
        world.fakes.trainer.step_s = 0
        world.store.retry_run("r-1", "train_1")
        await until(ended(world, "r-1"))
    assert world.report()
    assert world.drawn_twice() == []
    assert world.fakes.trainer.restarted == 1


async def test_retry_of_a_succeeded_run_from_the_verdict_repeats_that_alone(world) -> None:
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
        asked, starts = len(world.fakes.generator.asked), world.fakes.trainer.starts
        first = world.store.get_run("r-1").report_uri
        world.store.retry_run("r-1", "verdict")
        assert world.store.get_run("r-1").report_uri == ""
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)
    assert run.report_uri
    assert first
    assert (len(world.fakes.generator.asked), world.fakes.trainer.starts) == (asked, starts)


async def test_launch_with_an_epoch_that_ends_stops_the_run_without_failing_it(world) -> None:
    world.fakes.generator.latency_s = 0.02
    world.fakes.generator.concurrency = 1
    create(world)
    url = f"sqlite:///{world.folder}/workflows.db"
    runner = LoopRunner(world.store, world.artifacts, world.connect, LoopConfig(url, queue_poll_s=0.05))
    assert world.store.leases.acquire("a", None) == 1
    await runner.launch(Epoch(1, "ab"))
    await until(lambda: len(world.store.completions("r-1", "original")) > 5)
    assert world.store.leases.acquire("b", world.store.leases.read()) == 2
    await asyncio.wait_for(runner.cut_off.wait(), 10)
    before = len(world.store.completions("r-1"))
    await runner.shutdown()
    # The process goes on, and needs threads.
    assert (await asyncio.to_thread(world.store.get_run, "r-1")).status is RunStatus.RUNNING
    assert len(world.store.completions("r-1")) == before
    world.fakes.generator.latency_s = 0.0
    await runner.launch(Epoch(2, "ab"))
    await until(ended(world, "r-1"))
    await runner.shutdown()
    assert world.report()
    assert not world.events("run.failed")


async def test_run_on_postgresql_is_paused_resumed_and_retried(world, postgres_url: str) -> None:
    world.store.close()
    world.store = SqlRunStore(postgres_url)
    world.store.migrate()
    world.fakes.generator.latency_s = 0.02
    create(world)
    # DBOS's tables are in a schema of their own in the same database.
    runner = LoopRunner(
        world.store, world.artifacts, world.connect, LoopConfig(postgres_url, queue_poll_s=0.05)
    )
    assert world.store.leases.acquire("a", None) == 1
    await runner.launch(Epoch(1, "ab"))
    await until(lambda: len(world.store.completions("r-1", "original")) > 5)
    world.store.request_pause("r-1")
    await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
    world.fakes.generator.latency_s = 0.0
    world.store.request_resume("r-1")
    await until(ended(world, "r-1"))
    assert world.report()
    reader = WorkflowSteps(postgres_url)
    assert "verdict" in [step.name for step in reader.steps(world.store.get_run("r-1"))]
    reader.close()
    world.store.retry_run("r-1", "verdict")
    await until(ended(world, "r-1"))
    await runner.shutdown()
    assert world.store.get_run("r-1").attempt == 2
    assert world.report()
    # What the generator was at when the pause came, and no more: the others were stored.
    again = world.drawn_twice()
    assert len(again) <= world.fakes.generator.concurrency
    assert all("|P1|" in key for key in again)
    world.store.close()


async def test_steps_of_a_run_before_any_leader_began_are_none(world) -> None:
    create(world)
    assert steps_of(world) == []
    assert not (world.folder / "workflows.db").exists()


async def test_retry_of_a_run_of_another_loop_version_fails_and_says_so(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
    monkeypatch.setattr(looking, "LOOP_VERSION", "valign-loop-999")
    world.store.retry_run("r-1", "verdict")
    async with launched(world):
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")


async def test_cancel_of_a_paused_run_that_cannot_be_connected_any_more_stops_nobody_else(world) -> None:
    world.fakes.trainer.step_s = 0.2
    create(world, "r-1")
    async with launched(world):
        await until(lambda: bool(world.fakes.trainer.jobs))
        world.store.request_pause("r-1")
        await until(lambda: world.store.get_run("r-1").status is RunStatus.PAUSED)
    world.fakes.trainer.step_s = 0.0
    connect = world.connect
    refused = []

    def once(study, on_waiting, served):
        if not refused:
            refused.append(study)
            raise InvalidInputError("that host may not be called")
        return connect(study, on_waiting, served)

    world.connect = once
    world.store.request_cancel("r-1")
    async with launched(world) as runner:
        await until(ended(world, "r-1"))
        create(world, "r-2")
        await until(ended(world, "r-2"))
        assert not runner.cut_off.is_set()
    assert world.store.get_run("r-1").error_message == "that host may not be called"
    assert world.store.get_run("r-2").status is RunStatus.SUCCEEDED


async def test_look_one_run_that_raises_holds_no_other_back(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_ODD_S", 0.3)
    create(world, "r-1")
    create(world, "r-2")
    hand_over, raised = LoopRunner._hand_over, []

    async def raises_once(self, run):
        if run.run_id == "r-1" and not raised:
            raised.append(run)
            raise RuntimeError("odd")
        await hand_over(self, run)

    monkeypatch.setattr(LoopRunner, "_hand_over", raises_once)
    async with launched(world) as runner:
        await until(ended(world, "r-2"))
        await until(ended(world, "r-1"))
        assert not runner.cut_off.is_set()
    assert raised


async def test_workflow_that_another_took_from_the_queue_is_put_back(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "_TAKEN_S", 0.3)
    world.fakes.trainer.step_s = 0.1
    create(world, "r-1")
    create(world, "r-2")
    async with launched(world):
        await until(lambda: bool(world.fakes.trainer.jobs))
        # What a former leader's DBOS does before its store refuses it.
        take = "UPDATE workflow_status SET status = ? WHERE workflow_uuid = ? AND status = ?"
        with sqlite3.connect(world.folder / "workflows.db", timeout=10) as database:
            assert database.execute(take, ("PENDING", "r-2", "ENQUEUED")).rowcount == 1
        database.close()
        await until(ended(world, "r-1"))
        await until(ended(world, "r-2"))
    assert world.store.get_run("r-2").status is RunStatus.SUCCEEDED


async def test_succeeded_again_after_a_replayed_report_has_its_report(world) -> None:
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
    report = world.store.get_run("r-1").report_uri
    world.store.retry_run("r-1", "")
    assert world.store.get_run("r-1").report_uri == ""
    async with launched(world):
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.report_uri) == (RunStatus.SUCCEEDED, report)
    assert run.report_html_uri
    assert world.report()
