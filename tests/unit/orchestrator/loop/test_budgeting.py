"""Runs that a budget ends: where, with what, and how they go on."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.orchestrator.budget import STOPPED, spending_of
from services.orchestrator.loop.budgeting import ENDING, Purse, forecast
from services.orchestrator.loop.planned import PLANNED, Known, known_of, works_of
from services.orchestrator.loop.steps import Steps
from services.orchestrator.loop.tally import COUNTS, SECONDS, USED, Tally
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.planning.rows import Work
from services.orchestrator.planning.speed import Speeds
from services.orchestrator.ports import RunStatus
from tests.fakes.runners import ended, launched, total, until
from tests.fakes.studies import other_set, study_json

CONTROLS = {"arms": {"training_seeds": 2, "controls": ["shuffled"]}}
# Two topics of ten: 6 train, 2 validation, 2 test each; 15 steps a training at the default batch and epochs.
STEPS = 15
# Uncovering (2 x 20 completions), one iteration (4), judging (12 + 8), references (4) and in context (8).
TOKENS = 22


async def free(world, **changes: Any) -> dict[str, dict[str, float]]:
    """What the study uses by stage without a budget; tokens are counted by length."""
    world.fakes.generator.counts_tokens = True
    await world.run(world.context(study_json(**changes), "r-0"))
    world.report("r-0")
    world.recorded.clear()
    return world.store.get_value("r-0", USED)["stages"]


def tokens_of(*stages: dict[str, float]) -> float:
    return sum(stage.get(name, 0) for stage in stages for name in ("prompt_tokens", "completion_tokens"))


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
    stages = await free(world, iterations=1)
    study = study_json(iterations=2, budget={"max_tokens": round(1.2 * tokens_of(stages["uncover"]))})
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


@pytest.mark.parametrize("draws", [1, 2])
async def test_forecast_before_the_reference_texts_is_near_to_what_they_take(world, draws: int) -> None:
    world.fakes.generator.refuse_draws = draws - 1
    stages = await free(world, measure_only=True)
    await world.run(world.context(study_json(measure_only=True, budget={"max_tokens": 1})))
    (event,) = world.events("budget.reached")
    took = tokens_of(stages["uncover"]) - event.data["used"]
    # Prompts that hold the reference set are longer than those before them.
    assert took > 1.5 * event.data["used"]
    assert event.data["needed"] == pytest.approx(took, rel=0.15)
    assert event.data["left_out"] == "the reference texts"


async def test_run_with_the_budget_that_it_takes_is_refused_nothing_and_has_every_arm(world) -> None:
    world.fakes.trainer.steps = STEPS
    # The guards would hold the probes' bound against it, which a run does not reach.
    plain = {"guards": {"polarity": False, "general_prompts": None}, **CONTROLS}
    stages = await free(world, iterations=1, **plain)
    budget = {"max_tokens": round(1.05 * tokens_of(*stages.values())), "max_training_steps": 3 * STEPS}
    await world.run(world.context(study_json(iterations=1, budget=budget, **plain)))
    report = world.report()
    assert not world.events("budget.reached")
    assert report.cost.budget is None
    assert "shuffled" in {arm.arm for arm in report.analysis.arms}
    assert not {"tuned-s1", "shuffled"} & report.analysis.not_run.keys()


@pytest.mark.parametrize("cut", ["uncover_aligned", "draw_base_reference", "budget_shuffled"])
async def test_run_that_is_cut_and_resumed_decides_as_one_that_is_not(world, cut: str) -> None:
    world.fakes.trainer.steps = STEPS
    plain = {"guards": {"polarity": False, "general_prompts": None}, **CONTROLS}
    whole = tokens_of(*(await free(world, iterations=1, **plain)).values())
    study = study_json(iterations=1, budget={"max_tokens": round(0.95 * whole)}, **plain)
    await world.run(world.context(study))
    undisturbed = world.report()
    world.recorded.clear()

    async def dies(name: str, body: Any) -> Any:
        if name == cut:
            await body()
            raise asyncio.CancelledError
        return await world.record(name, body)

    with pytest.raises(asyncio.CancelledError):
        await realign_model(world.context(study, "r-2"), dies)
    again = world.context(study, "r-2")
    again.tally = Tally(world.store.get_value("r-2", USED))
    await world.run(again)
    assert undisturbed.cost.budget.left_out == "the arm shuffled"
    assert world.report("r-2").cost.budget == undisturbed.cost.budget


async def test_end_of_the_run_that_is_done_is_not_held_against_a_control_arm(world) -> None:
    world.fakes.trainer.steps = STEPS
    ctx = world.context(study_json(iterations=1, budget={"max_training_steps": STEPS}, **CONTROLS))
    await world.run(ctx)
    steps = Steps(ctx, world.record)
    purse = Purse(ctx, steps)
    needed = frozenset({"train_shuffled_1", "measure_shuffled"})
    fresh = await purse._decide(needed, ending=True, only_measured=False)
    steps.finished |= {name for name in world.recorded if name != "probes"}
    later = await purse._decide(needed, ending=True, only_measured=False)
    assert fresh.limit == later.limit == "max_training_steps"
    works = works_of(ctx, 12.0)
    ended = {work.step: work.completions for work in works if work.step in ENDING}
    assert set(ended) == ENDING
    spent = ctx.tally.total()
    arm = [work for work in works if work.step in needed]
    ending = [work for work in works if work.step in ENDING]
    probes = [work for work in works if work.stage == "probes"]
    done = [work for work in works if work.step in steps.finished]
    alone = forecast([*arm, *probes], done, spent, Known()).tokens
    twice = forecast([*arm, *ending, *probes], done, spent, Known()).tokens
    assert twice > alone
    limits = ctx.study.budget.model_copy(
        update={"max_training_steps": None, "max_tokens": round(spending_of(spent).tokens + alone + 1)}
    )
    ctx.resolved = replace(ctx.resolved, study=ctx.study.model_copy(update={"budget": limits}))
    assert await Purse(ctx, steps)._decide(needed, ending=True, only_measured=False) is None
    assert await Purse(ctx, Steps(ctx, world.record))._decide(needed, True, False) is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"measure_only": True}, "measure_only"), ({"principles": 2}, "too_few_pairs")],
    ids=["measure-only", "too-few"],
)
async def test_run_without_training_keeps_to_its_budget(world, changes: dict[str, Any], why: str) -> None:
    stages = await free(world, **changes)
    pairs = tokens_of(stages["uncover"])
    assert tokens_of(*stages.values()) > 1.5 * pairs
    study = study_json(**changes, budget={"max_tokens": round(1.2 * pairs)})
    await world.run(world.context(study))
    report = world.report()
    assert report.stop_reason == why
    assert tokens_of(report.cost.total_used) == pairs
    assert report.cost.budget.limit == "max_tokens"
    event = world.events("budget.reached")[-1]
    assert (event.data["before"], event.data["left_out"]) == ("measure", "what is drawn beside the pairs")
    # What is missing is told with the reason, and not as a model that says nothing.
    (warning,) = report.warnings
    assert "budget.max_tokens allows" in warning
    for arm in ("base_p3", "base_reference"):
        assert "budget.max_tokens allows" in report.analysis.not_run[arm]


async def test_run_other_set_is_not_paid_says_so(world) -> None:
    world.fakes.trainer.steps = STEPS
    arms = {"training_seeds": 1, "controls": ["other"], "other_reference_set": other_set()}
    plain = {"guards": {"polarity": False, "general_prompts": None}, "arms": arms}
    whole = tokens_of(*(await free(world, iterations=1, **plain)).values())
    budget = {"max_tokens": round(0.8 * whole)}
    await world.run(world.context(study_json(iterations=1, budget=budget, **plain)))
    report = world.report()
    assert "budget.max_tokens allows" in report.analysis.not_run["other"]
    assert "budget.max_tokens allows" in report.analysis.not_run["aligned_other"]


async def test_retry_from_a_step_after_the_budget_ended_the_run_tells_of_the_budget_again(world) -> None:
    world.fakes.trainer.steps = STEPS
    study = study_json(iterations=2, budget={"max_training_steps": STEPS})
    world.store.create_run("r-1", study["name"], study)
    async with launched(world):
        await until(ended(world, "r-1"))
        first = world.report()
        assert first.cost.budget is not None
        world.store.retry_run("r-1", "verdict")
        assert world.store.get_value("r-1", STOPPED) is None
        await until(ended(world, "r-1"))
    assert (world.report().stop_reason, world.report().cost.budget) == ("budget", first.cost.budget)
    assert world.store.get_value("r-1", STOPPED)["step"] == "budget_train_2"


async def test_failed_control_arm_counts_against_the_steps(world) -> None:
    trainer = world.fakes.trainer
    trainer.steps, trainer.fail_with, trainer.fail_arm = STEPS, ("INTERNAL", "gone"), "tuned-s1"
    study = study_json(iterations=1, budget={"max_training_steps": 2 * STEPS}, **CONTROLS)
    await world.run(world.context(study))
    report = world.report()
    assert total(world)["training_steps"] == 2 * STEPS
    assert "budget.max_training_steps allows" in report.analysis.not_run["shuffled"]


def test_forecast_of_what_has_no_rate_yet_is_the_plan_and_no_seconds() -> None:
    nothing = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    work = Work(
        "realign", "validate_1", completions=10, prompt_chars=400, most_tokens=7, training_steps=4, scores=3
    )
    found = forecast([work], [], nothing, Known())
    assert (found.tokens, found.training_steps, found.gpu_s, found.wall_s) == (100 + 70, 4, 0, 0)


def test_forecast_takes_the_rates_so_far() -> None:
    used = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    # Ten slots took fifteen draws, of prompts twice as long as was planned.
    used |= {"completions": 15, "prompt_tokens": 300, "completion_tokens": 45, "generation_s": 9.0}
    used |= {"trained_examples": 4, "training_s": 2.0, "gpu_s": 22.0}
    done = [Work("s", "p1", completions=10, most_draws=3, prompt_chars=400, most_tokens=9)]
    works = [
        Work("s", "a", completions=20, most_draws=3, prompt_chars=8000, most_tokens=9),
        Work("s", "b", trained_examples=8),
    ]
    found = forecast(works, done, used, Known())
    assert found.tokens == pytest.approx(2000 * 1.5 * 2 + 30 * 3)
    assert found.wall_s == pytest.approx(30 * 3 / 5 + 4)
    assert found.gpu_s == pytest.approx(found.wall_s * 2)


def test_forecast_of_a_kind_of_work_that_is_new_takes_past_speeds() -> None:
    used = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    known = Known(speeds=Speeds(trained_examples_per_s=2.0, scores_per_s=10.0), gpus=4.0)
    found = forecast([Work("s", "a", trained_examples=8, scores=20)], [], used, known)
    assert (found.wall_s, found.gpu_s) == (pytest.approx(6.0), pytest.approx(24.0))


async def test_plan_keeps_what_past_runs_took_for_the_budget(world) -> None:
    first = world.context(study_json(measure_only=True), "r-0")
    await world.run(first)
    world.recorded.clear()
    first.tally.add(trained_examples=10, training_s=5.0, gpu_s=3.0)
    await first.keep_tally()
    await world.run(world.context(study_json(measure_only=True)))
    known = known_of(world.store.get_value("r-1", PLANNED))
    assert known.speeds.trained_examples_per_s == pytest.approx(2.0)
    assert known.speeds.completion_tokens_per_s > 0
    assert known.figures.completion_tokens == pytest.approx(12.0)
    used = first.tally.total()
    busy_s = used["generation_s"] + used["scoring_s"] + used["embedding_s"] + used["training_s"]
    assert known.gpus == pytest.approx(3.0 / busy_s, rel=1e-3)
    assert known_of({"slots": {}}) == known_of(None) == Known()
