"""The loop on DBOS, in this process."""

import asyncio
import sqlite3

import pytest

from services.common.errors import NotReadyError
from services.common.rpc.fence import Epoch
from services.orchestrator.loop import looking
from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.ports import RunStatus
from tests.fakes.runners import create, ended, launched, until
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


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
