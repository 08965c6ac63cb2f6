"""Runs that people pause, resume, retry and cancel, on DBOS in this process."""

import asyncio

import pytest

from services.common.errors import InvalidInputError
from services.common.rpc.fence import Epoch
from services.orchestrator.loop import looking
from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.loop.workflows import WorkflowSteps
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore
from tests.fakes.runners import create, ended, launched, until
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


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
