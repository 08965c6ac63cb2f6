"""Whole runs on fake services, without DBOS."""

import asyncio

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.loop import swap
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import RunStatus
from services.orchestrator.report.html import render_html
from tests.fakes import fake_embedder, fake_generator
from tests.fakes.studies import study_json

STAGES = ["prepare", "uncover", "quantify", "analyse", "realign", "judge"]
STAGES += ["controls", "probes", "verdict", "report"]
CHINESE_AND_ARABIC = [(f"主题{number}", f"主题 {number}") for number in range(6)] + [
    (f"موضوع{number}", f"الموضوع {number}") for number in range(6)
]


async def test_run_two_topics_two_iterations_reports_every_number(world) -> None:
    await world.run(world.context(study_json()))
    report = world.report()
    assert [entry.iteration for entry in report.iterations] == [0, 1, 2]
    assert report.stop_reason == "max_iterations"
    assert report.best_iteration == 2
    assert report.adapter is not None
    assert report.adapter.name.startswith("r-1-i2-")
    for topic in report.topics:
        assert (topic.n_train, topic.n_validation, topic.n_test) == (6, 2, 2)
        assert topic.after is not None
        assert topic.base_p3 is not None
        assert topic.after < topic.before
        assert topic.after < topic.base_p3
    assert report.overall.reduction == pytest.approx(1 - report.overall.after / report.overall.before)
    assert report.iterations[1].weights == {
        topic.id: pytest.approx(topic.initial_weight) for topic in report.topics
    }
    assert max(report.iterations[1].weights.values()) == 1.0
    assert {point.kind for point in report.projection.points} == {"original", "reference", "realigned"}
    arms = {"original", "aligned", "base_p3", "base_reference", "realigned-i1", "realigned-i2"}
    assert set(report.counts) == arms
    # Four validation inputs once, four test inputs in two samples; of the reference one more draw each.
    assert report.counts["realigned-i2"].requested == 12
    assert report.counts["realigned-i1"].requested == 4
    assert report.counts["aligned"].requested == 24
    assert [load.iteration for load in report.swap.loads] == [1, 2]
    assert tuple(report.timings_s) == (*STAGES, "total")
    assert set(report.external_s) == {"generation", "training", "embedding", "loading"}
    assert world.artifacts.get_bytes(world.store.get_run("r-1").report_html_uri).startswith(b"<!")


async def test_run_ended_best_adapter_stays_loaded_and_no_other(world) -> None:
    await world.run(world.context(study_json(iterations=3)))
    assert list(world.fakes.generator.adapters) == [world.report().adapter.name]


async def test_run_one_adapter_slot_swaps_within_it(world) -> None:
    world.fakes.generator.slots = 1
    await world.run(world.context(study_json(iterations=3)))
    assert list(world.fakes.generator.adapters) == [world.report().adapter.name]


@pytest.mark.parametrize("arm", ["", "-tuned-s1", "-uniform", "-shuffled", "-other"])
async def test_run_slots_full_of_ended_runs_the_oldest_makes_room(world, arm: str) -> None:
    world.fakes.generator.slots = 2
    world.fakes.generator.adapters = {f"r-0{arm}-i1-00000000": "a", "r-00-i2-00000000": "b"}
    for run_id in ("r-0", "r-00"):
        world.store.create_run(run_id, "earlier", study_json())
        world.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded")
    await world.run(world.context(study_json(iterations=1)))
    assert set(world.fakes.generator.adapters) == {"r-00-i2-00000000", world.report().adapter.name}


async def test_run_slots_full_of_others_adapters_fails_and_leaves_them(world) -> None:
    world.fakes.generator.slots = 3
    others = {"r-0-i1-00000000": "a", "r-unknown-i1-00000000": "b", "by-hand": "c"}
    world.fakes.generator.adapters = dict(others)
    world.store.create_run("r-0", "running", study_json())
    await world.run(world.context(study_json(iterations=1)))
    assert world.store.get_run("r-1").error_code == "OVERLOADED"
    assert world.fakes.generator.adapters == others


async def test_run_cancelled_while_the_generator_is_away_ends_without_it(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_ANSWER_S", 0.3)
    world.fakes.generator.serving = False
    ctx = world.context(study_json())
    running = asyncio.create_task(world.run(ctx))
    while not world.events("service.waiting"):
        await asyncio.sleep(0.01)
    ctx.cancelled.set()
    await asyncio.wait_for(running, 4)
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED


@pytest.mark.parametrize(
    ("service", "fake", "step"),
    [("generator", fake_generator, "prepare"), ("embedder", fake_embedder, "quantify")],
)
async def test_run_service_comes_back_with_another_model_is_refused(
    world, monkeypatch: pytest.MonkeyPatch, service: str, fake: object, step: str
) -> None:
    async def record(name: str, body):
        envelope = await world.record(name, body)
        if name == step:
            monkeypatch.setattr(fake, "FINGERPRINT", "0" * 64)
        return envelope

    with pytest.raises(PreconditionError, match=f"the {service} serves another model"):
        await realign_model(world.context(study_json(iterations=1)), record)


async def test_run_one_topic_two_principles_is_measured_only(world) -> None:
    await world.run(world.context(study_json([("privacy", "Privacy")], principles=2)))
    report = world.report()
    assert report.stop_reason == "too_few_pairs"
    assert report.adapter is None
    assert report.topics[0].after is None
    assert report.topics[0].before > 0
    assert report.topics[0].n_test == 0
    assert world.fakes.trainer.starts == 0


async def test_run_twelve_topics_in_chinese_and_arabic_succeeds(world) -> None:
    await world.run(world.context(study_json(CHINESE_AND_ARABIC, principles=5, iterations=1)))
    assert [topic.title for topic in world.report().topics] == [title for _, title in CHINESE_AND_ARABIC]


async def test_run_nothing_but_refusals_fails_with_counts(world) -> None:
    world.fakes.generator.refuse_all = True
    await world.run(world.context(study_json(principles=4)))
    run = world.store.get_run("r-1")
    assert run.status is RunStatus.FAILED
    assert run.error_code == "PRECONDITION"
    assert "privacy: 0 of 4 (20 refusal)" in run.error_message
    failed = world.events("run.failed")[0]
    assert failed.data["details"]["counts"]["fairness"]["failed_by_reason"] == {"refusal": 20}
    assert failed.data["code"] == "PRECONDITION"


async def test_run_first_draws_refused_redraws_and_counts(world) -> None:
    world.fakes.generator.refuse_draws = 2
    await world.run(world.context(study_json(principles=5, iterations=1)))
    counts = world.report().counts["original"]
    assert (counts.requested, counts.usable, counts.redrawn) == (10, 10, 20)
    assert counts.failed_by_reason == {"refusal": 20}


async def test_run_model_falls_silent_after_training_fails_and_says_so(world) -> None:
    world.fakes.generator.garbage_with_adapter = True
    await world.run(world.context(study_json()))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "empty" in run.error_message
    assert world.fakes.generator.adapters == {}


async def test_run_base_silent_under_the_third_prompt_is_told_and_no_failure(world) -> None:
    world.fakes.generator.garbage_without_adapter = True
    await world.run(world.context(study_json(principles=3, iterations=1)))
    report = world.report()
    assert (report.overall.base_p3, report.topics[0].base_p3) == (None, None)
    assert report.overall.after is not None
    assert report.counts["base_p3"].failed_by_reason == {"empty": 30}
    assert "principles asked for are missing" in render_html(report)


async def test_run_study_of_other_model_fails_with_precondition(world) -> None:
    await world.run(world.context(study_json(model="another/model-1b")))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "another/model-1b" in run.error_message


async def test_run_training_fails_ends_with_the_trainers_error(world) -> None:
    world.fakes.trainer.fail_with = ("PRECONDITION", "the loss is NaN at step 3")
    await world.run(world.context(study_json()))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "NaN" in run.error_message


async def test_run_stream_breaks_goes_on_with_what_is_missing(world) -> None:
    world.fakes.generator.break_after = 5
    await world.run(world.context(study_json()))
    assert world.report()
    assert world.drawn_twice() == []
    assert world.events("service.waiting")[0].data["service"] == "generator"


async def test_run_generator_loses_adapter_loads_again(world) -> None:
    world.fakes.generator.lose_adapters_after = 2
    await world.run(world.context(study_json(iterations=1)))
    name = world.report().adapter.name
    # To validate, because it was lost, and to judge; after that the probes ask for it.
    before_probes = world.loads_before["probes"]
    assert before_probes.count(name) == 3
    assert world.drawn_twice() == []


async def test_run_repeated_after_end_runs_no_step_and_asks_nothing(world) -> None:
    study = study_json()
    await world.run(world.context(study))
    asked, events = world.fakes.generator.asked.total(), len(world.events())
    world.executed.clear()
    await world.run(world.context(study))
    assert world.executed == []
    assert world.fakes.generator.asked.total() == asked
    assert len(world.events()) == events


@pytest.mark.parametrize(
    "step", ["uncover_aligned", "quantify", "train_2", "load_1", "validate_2", "judge_best"]
)
async def test_run_step_run_twice_asks_for_nothing_again(world, step: str) -> None:
    study = study_json()
    await world.run(world.context(study))
    first = world.report()
    asked = world.fakes.generator.asked.total()
    del world.recorded[step]
    world.recorded.pop("report")
    await world.run(world.context(study))
    assert world.fakes.generator.asked.total() == asked
    assert world.fakes.trainer.starts - world.fakes.trainer.attached == 2
    assert world.report().topics == first.topics


@pytest.mark.parametrize("stage", ["uncover", "realign", "judge"])
async def test_run_cancelled_in_a_stage_ends_cancelled(world, stage: str) -> None:
    world.fakes.generator.latency_s = 0.02
    world.fakes.generator.concurrency = 1
    world.fakes.trainer.step_s = 0.05
    ctx = world.context(study_json())
    running = asyncio.create_task(world.run(ctx))
    while not any(event.data["stage"] == stage for event in world.events("stage.started")):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    ctx.cancelled.set()
    await asyncio.wait_for(running, 5)
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    assert world.events()[-1].kind == "run.cancelled"
    assert world.fakes.generator.adapters == {}
    assert all(job.state.state != 2 for job in world.fakes.trainer.jobs.values())


async def test_run_cancelled_while_training_cancels_the_job(world) -> None:
    world.fakes.trainer.step_s = 30
    ctx = world.context(study_json())
    running = asyncio.create_task(world.run(ctx))
    while not world.fakes.trainer.jobs:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    ctx.cancelled.set()
    await asyncio.wait_for(running, 5)
    assert [job.state.state for job in world.fakes.trainer.jobs.values()] == [5]


async def test_run_events_tell_stages_in_order_and_progress_to_the_end(world) -> None:
    await world.run(world.context(study_json(iterations=1)))
    kinds = [event.kind for event in world.events()]
    assert kinds[0] == "run.queued"
    assert kinds[-1] == "run.succeeded"
    ended = [event.data["stage"] for event in world.events("stage.ended")]
    assert ended == STAGES
    uncovered = [
        event.data
        for event in world.events("stage.progress")
        if event.data["stage"] == "uncover" and "topic" not in event.data
    ]
    assert (uncovered[-1]["done"], uncovered[-1]["total"]) == (40, 40)
    assert world.events("training.progress")[-1].data["step"] == 4
    assert world.events("adapter.loaded")[0].data["canaries"] == 4
