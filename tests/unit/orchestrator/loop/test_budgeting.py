"""Runs that a budget ends: where, with what, and how they go on."""

import pytest

from services.orchestrator.budget import STOPPED
from services.orchestrator.loop.budgeting import forecast
from services.orchestrator.loop.tally import COUNTS, SECONDS, USED
from services.orchestrator.planning.rows import Work
from services.orchestrator.ports import RunStatus
from tests.fakes.studies import study_json
from tests.unit.orchestrator.loop.test_runner import ended, launched, until

CONTROLS = {"arms": {"training_seeds": 2, "controls": ["shuffled"]}}
# Two topics of ten: 6 train, 2 validation, 2 test each; 15 steps a training at the default batch and epochs.
STEPS = 15
# Uncovering (2 x 20 completions), one iteration (4), judging (12 + 8), references (4) and in context (8).
TOKENS = 22


def total(world) -> dict[str, float]:
    stages = world.store.get_value("r-1", USED)["stages"]
    return {
        name: sum(part.get(name, 0) for part in stages.values()) for name in ("training_steps", "completions")
    }


async def test_run_without_budget_has_no_step_for_it(world) -> None:
    await world.run(world.context(study_json(iterations=1)))
    assert not [name for name in world.recorded if name.startswith("budget")]
    assert world.report().cost.budget is None


async def test_run_training_steps_are_up_ends_with_best_checkpoint_and_says_so(world) -> None:
    world.fakes.trainer.steps = STEPS
    study = study_json(iterations=3, budget={"max_training_steps": 2 * STEPS + 1}, **CONTROLS)
    await world.run(world.context(study))
    report = world.report()
    assert report.stop_reason == "budget"
    assert [entry.iteration for entry in report.iterations] == [0, 1, 2]
    assert report.best_iteration == 2
    assert report.adapter is not None
    assert report.analysis is not None
    assert report.analysis.verdict is not None
    assert total(world)["training_steps"] == 2 * STEPS
    (first, *_) = world.events("budget.reached")
    assert (first.data["before"], first.data["limit"]) == ("train_3", "max_training_steps")
    assert report.cost.budget.step == "budget_train_3"
    assert (report.cost.budget.used, report.cost.budget.needed) == (2 * STEPS, STEPS)
    assert world.events("run.succeeded")[0].data["budget"]["limit"] == "max_training_steps"
    # Arms that were not trained are told, with the reason.
    not_run = report.analysis.not_run
    assert "budget" in str(not_run)


async def test_run_budget_is_larger_on_retry_goes_on_from_the_decision(world) -> None:
    world.fakes.trainer.steps = STEPS
    study = study_json(iterations=2, budget={"max_training_steps": STEPS})
    await world.run(world.context(study))
    assert world.report().stop_reason == "budget"
    asked = sum(world.fakes.generator.asked.values())
    step = world.store.get_value("r-1", STOPPED)["step"]
    assert step == "budget_train_2"
    study["budget"]["max_training_steps"] = 2 * STEPS
    world.store.retry_run("r-1", step, study=study)
    assert world.store.get_value("r-1", STOPPED) is None
    names = list(world.recorded)
    for name in names[names.index(step) :]:
        del world.recorded[name]
    used = world.store.get_value("r-1", USED)
    ctx = world.context(study)
    ctx.tally = type(ctx.tally)(used)
    await world.run(ctx)
    report = world.report()
    assert report.stop_reason == "max_iterations"
    assert report.best_iteration == 2
    assert report.cost.budget is None
    assert total(world)["training_steps"] == 2 * STEPS
    assert sum(world.fakes.generator.asked.values()) > asked
    assert world.drawn_twice() == []


async def test_retry_of_a_stored_run_with_a_larger_budget_forks_there_and_pays_for_nothing_twice(
    world,
) -> None:
    world.fakes.trainer.steps = STEPS
    study = study_json(iterations=2, budget={"max_training_steps": STEPS})
    world.store.create_run("r-1", study["name"], study)
    async with launched(world):
        await until(ended(world, "r-1"))
        assert world.report().stop_reason == "budget"
        asked, starts = sum(world.fakes.generator.asked.values()), world.fakes.trainer.starts
        study["budget"]["max_training_steps"] = 2 * STEPS
        world.store.retry_run("r-1", world.store.get_value("r-1", STOPPED)["step"], study=study)
        await until(ended(world, "r-1"))
    run = world.store.get_run("r-1")
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)
    assert (world.report().stop_reason, world.report().best_iteration) == ("max_iterations", 2)
    assert world.fakes.trainer.starts == starts + 1
    assert sum(world.fakes.generator.asked.values()) > asked
    assert not world.drawn_twice()


async def test_run_tokens_suffice_for_one_iteration_stay_within_the_budget(world) -> None:
    world.fakes.trainer.steps = STEPS
    guards = {"polarity": False, "general_prompts": None}
    study = study_json(iterations=5, guards=guards, budget={"max_tokens": 80 * TOKENS})
    await world.run(world.context(study))
    report = world.report()
    assert report.stop_reason == "budget"
    assert report.best_iteration is not None
    assert total(world)["completions"] <= 80
    used = report.cost.total_used
    assert used["prompt_tokens"] + used["completion_tokens"] <= 80 * TOKENS


async def test_run_budget_has_no_training_in_it_is_measured_only(world) -> None:
    study = study_json(iterations=2, budget={"max_training_steps": 1})
    await world.run(world.context(study))
    report = world.report()
    assert report.stop_reason == "budget_before_training"
    assert report.best_iteration is None
    assert "base_p3" not in report.counts or report.overall.after is None
    assert total(world)["training_steps"] == 0
    assert world.store.get_value("r-1", STOPPED)["step"] == "budget_train_1"


async def test_run_tokens_are_up_after_the_pairs_ends_with_their_measurement(world) -> None:
    study = study_json(iterations=2, budget={"max_tokens": 41 * TOKENS})
    await world.run(world.context(study))
    report = world.report()
    assert report.stop_reason == "budget_before_training"
    assert set(report.counts) == {"original", "aligned"}
    assert report.overall.before > 0
    assert total(world)["completions"] == 40
    assert report.analysis is None or report.analysis.verdict is None


async def test_run_tokens_are_up_before_any_pair_fails_with_the_remedy(world) -> None:
    study = study_json(iterations=2, budget={"max_tokens": 25 * TOKENS})
    await world.run(world.context(study))
    run = world.store.get_run("r-1")
    assert run.status is RunStatus.FAILED
    assert run.error_code == "PRECONDITION"
    assert "budget.max_tokens allows 550" in run.error_message
    assert world.store.get_value("r-1", STOPPED)["step"] == "budget_aligned"


@pytest.mark.parametrize("limit", ["max_wall_s", "max_gpu_s"])
async def test_run_seconds_are_up_ends_before_training(world, limit: str) -> None:
    world.fakes.generator.latency_s = 0.01
    ctx = world.context(study_json(iterations=2, budget={limit: 1e-3}))
    ctx.tally.add(gpu_s=1.0, wall_s=1.0)
    await world.run(ctx)
    assert world.store.get_run("r-1").status is RunStatus.FAILED
    assert limit in world.store.get_run("r-1").error_message


def test_forecast_of_what_has_no_rate_yet_is_nothing() -> None:
    nothing = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    work = Work("realign", "validate_1", completions=10, training_steps=4, trained_examples=16, scores=3)
    found = forecast([work], nothing)
    assert (found.tokens, found.training_steps, found.gpu_s, found.wall_s) == (0, 4, 0, 0)


def test_forecast_takes_the_rates_so_far() -> None:
    used = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    used |= {"completions": 10, "prompt_tokens": 80, "completion_tokens": 20, "generation_s": 5.0}
    used |= {"trained_examples": 4, "training_s": 2.0, "gpu_s": 14.0}
    found = forecast([Work("s", "a", completions=20), Work("s", "b", trained_examples=8)], used)
    assert found.tokens == 200
    assert found.wall_s == pytest.approx(10 + 4)
    assert found.gpu_s == pytest.approx(14 * 2)
