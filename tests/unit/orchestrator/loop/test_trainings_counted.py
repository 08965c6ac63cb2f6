"""What a run has used: trainings that fail, are cancelled, or are joined by a later attempt."""

import asyncio

import pytest

from services.orchestrator.loop.tally import USED, Tally
from services.orchestrator.ports import RunStatus
from tests.fakes.runners import create, ended, launched, total, until
from tests.fakes.studies import study_json

STEPS = 15


@pytest.mark.parametrize("attempt", [1, 2])
async def test_run_training_failed_counts_what_it_did(world, attempt: int) -> None:
    world.fakes.trainer.steps, world.fakes.trainer.fail_with = STEPS, ("INTERNAL", "out of memory")
    study = study_json(iterations=1)
    await world.run(world.context(study))
    assert world.store.get_run("r-1").status is RunStatus.FAILED
    assert total(world)["training_steps"] == STEPS
    if attempt == 2:
        world.fakes.trainer.fail_with = None
        world.store.retry_run("r-1", "train_1")
        del world.recorded["train_1"]
        again = world.context(study)
        again.attempt, again.tally = 2, Tally(world.store.get_value("r-1", USED))
        await world.run(again)
        assert world.report().cost.total_used["training_steps"] == 2 * STEPS


async def test_run_cancelled_while_it_trains_counts_the_steps_until_then(world) -> None:
    world.fakes.trainer.steps, world.fakes.trainer.step_s = 1000, 0.01
    ctx = world.context(study_json(iterations=1))
    running = asyncio.create_task(world.run(ctx))
    await until(lambda: ctx.tally.total()["training_steps"] > 3)
    ctx.cancelled.set()
    await running
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    (job,) = world.fakes.trainer.jobs.values()
    assert 3 < total(world)["training_steps"] <= job.state.progress.step


async def test_run_cancelled_while_it_trains_counts_what_its_processes_cost(world) -> None:
    trainer = world.fakes.trainer
    trainer.steps, trainer.step_s, trainer.costs = 1000, 0.01, (5.0, 100.0)
    ctx = world.context(study_json(iterations=1))
    running = asyncio.create_task(world.run(ctx))
    await until(lambda: ctx.tally.total()["training_steps"] > 3)
    ctx.cancelled.set()
    await running
    assert (total(world)["cpu_s"], total(world)["gpu_s"]) == (5.0, 100.0)


async def test_retry_that_joins_a_job_pays_for_none_of_it_again(world) -> None:
    world.fakes.trainer.steps, world.fakes.trainer.costs = STEPS, (5.0, 100.0)
    create(world)
    async with launched(world):
        await until(ended(world, "r-1"))
        first = total(world)
        assert first["gpu_s"] > 0
        jobs = len(world.fakes.trainer.jobs)
        world.store.retry_run("r-1", "train_1")
        await until(ended(world, "r-1"))
    assert (world.fakes.trainer.attached > 0, len(world.fakes.trainer.jobs)) == (True, jobs)
    again = total(world)
    names = ("training_steps", "trained_examples", "cpu_s", "gpu_s")
    assert [again[name] for name in names] == [first[name] for name in names]
