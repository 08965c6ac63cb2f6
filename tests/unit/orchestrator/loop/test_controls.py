"""Arms that a run is held against: what they share, what they are trained on, and how they fail."""

import asyncio
from typing import Any

import pytest

from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.ports import RunStatus
from tests.fakes.studies import other_set, study_json

ALL = {"training_seeds": 2, "controls": ["uniform", "shuffled", "other"], "other_reference_set": other_set()}
TRAINED = ["tuned-s1", "uniform", "shuffled", "other"]


def evidence(world: Any) -> Any:
    place = world.report().evidence
    return unpack_evidence(world.artifacts.get_bytes(place.uri, place.sha256))


def jobs(world: Any, arm: str) -> list[Any]:
    """The specs of an arm's trainings, in the order of iterations."""
    found = [job.spec for job in world.fakes.trainer.jobs.values()]
    return [spec for spec in found if spec.adapter_name_prefix.startswith(f"r-1-{arm}-i")]


def own_jobs(world: Any) -> list[Any]:
    found = [job.spec for job in world.fakes.trainer.jobs.values()]
    return [spec for spec in found if spec.adapter_name_prefix in ("r-1-i1", "r-1-i2")]


def answers(spec: Any) -> list[str]:
    return [example.answer for example in spec.examples]


def inputs(spec: Any) -> list[str]:
    return [example.messages[-1].content for example in spec.examples]


async def test_run_every_arm_is_drawn_once_and_none_stays_loaded(world) -> None:
    await world.run(world.context(study_json(arms=ALL)))
    report = world.report()
    drawn = {"original", "aligned", "base_p3", "base_reference", "aligned_other", *TRAINED}
    assert set(report.counts) == {*drawn, "realigned-i1", "realigned-i2"}
    assert world.drawn_twice() == []
    assert list(world.fakes.generator.adapters) == [report.adapter.name]
    assert report.analysis.verdict is not None
    assert report.analysis.primary is not None
    assert world.events("verdict.reached")[0].data["decision"] == report.analysis.verdict.decision
    arms = {arm.name: arm for arm in evidence(world).arms}
    assert {name for name, arm in arms.items() if arm.kind == "tuned"} == {"realigned-i2", "tuned-s1"}
    assert (arms["tuned-s1"].training_seed, arms["uniform"].training_seed) == (1, 0)
    assert (arms["other"].reference_set, arms["aligned_other"].reference_set) == ("other-set", "other-set")
    assert arms["realigned-i1"].kind == "checkpoint"
    samples = {(output.arm, output.sample) for output in evidence(world).outputs}
    assert {arm for arm, sample in samples if sample == 1} == drawn - {"original", "aligned_other"} | {
        "realigned-i2"
    }


async def test_run_arms_share_their_random_numbers(world) -> None:
    await world.run(world.context(study_json(arms=ALL)))
    seeds = {key: found for key, found in world.fakes.generator.seeds.items() if key[1]}
    assert all(len(found) == 1 for found in seeds.values())
    for (item, stage), found in seeds.items():
        if stage == "PR":
            assert found == seeds[item, "P3"]


async def test_run_trained_arms_change_one_thing_of_the_recipe_each(world) -> None:
    await world.run(world.context(study_json(arms=ALL)))
    own = own_jobs(world)
    for arm in TRAINED:
        assert len(jobs(world, arm)) == len(own) == 2
        assert inputs(jobs(world, arm)[0]) == inputs(own[0])
        assert f"/r-1-{arm}-i1-" in jobs(world, arm)[1].init_adapter_uri
    for before, now in zip(own, jobs(world, "tuned-s1"), strict=True):
        assert answers(now) == answers(before)
        assert dict(now.group_weights) == dict(before.group_weights)
        assert now.seed != before.seed
    for before, now in zip(own, jobs(world, "uniform"), strict=True):
        assert (answers(now), now.seed) == (answers(before), before.seed)
        assert set(now.group_weights.values()) == {1.0}
    for before, now in zip(own, jobs(world, "shuffled"), strict=True):
        assert sorted(answers(now)) == sorted(answers(before))
        assert all(one != other for one, other in zip(answers(before), answers(now), strict=True))
        assert dict(now.group_weights) == dict(before.group_weights)
    assert answers(jobs(world, "shuffled")[0]) == answers(jobs(world, "shuffled")[1])
    texts = {output.text for output in evidence(world).outputs if output.arm == "aligned_other"}
    assert set(answers(jobs(world, "other")[0])) <= texts


@pytest.mark.parametrize(
    "step",
    ["draw_references", "draw_other_set", "train_shuffled_2", "measure_uniform", "close_controls", "probes"],
)
async def test_run_step_run_twice_repeats_no_finished_work(world, step: str) -> None:
    study = study_json(arms=ALL)
    await world.run(world.context(study))
    first = world.report()
    asked = world.fakes.generator.asked.total()
    for name in (step, "verdict", "report"):
        world.recorded.pop(name)
    await world.run(world.context(study))
    assert world.fakes.generator.asked.total() == asked
    assert world.fakes.trainer.starts - world.fakes.trainer.attached == 10
    again = world.report()
    assert again.analysis == first.analysis
    assert again.evidence == first.evidence


async def test_run_arm_falls_silent_run_succeeds_and_says_so(world) -> None:
    world.fakes.generator.garbage_arm = "-uniform-"
    await world.run(world.context(study_json(arms=ALL)))
    report = world.report()
    assert "no usable text" in report.analysis.not_run["uniform"]
    assert "uniform" not in {arm.arm for arm in report.analysis.arms}
    assert report.counts["uniform"].usable == 0


async def test_run_arm_cannot_be_trained_run_succeeds_and_says_so(world) -> None:
    world.fakes.trainer.fail_with, world.fakes.trainer.fail_arm = (
        ("PRECONDITION", "the loss is NaN"),
        "shuffled",
    )
    await world.run(world.context(study_json(arms=ALL)))
    assert "NaN" in world.report().analysis.not_run["shuffled"]
    assert "shuffled" not in world.report().counts


async def test_run_one_adapter_slot_arms_take_turns(world) -> None:
    world.fakes.generator.slots = 1
    await world.run(world.context(study_json(arms=ALL)))
    assert list(world.fakes.generator.adapters) == [world.report().adapter.name]
    assert world.drawn_twice() == []


async def test_run_default_other_set_without_the_topics_is_told(world) -> None:
    await world.run(
        world.context(study_json(iterations=1, arms={"training_seeds": 1, "controls": ["other"]}))
    )
    assert "no set was named" in world.report().analysis.not_run["other"]


async def test_run_cancelled_while_a_control_trains_cancels_the_job(world) -> None:
    ctx = world.context(study_json(iterations=1, arms=ALL))
    running = asyncio.create_task(world.run(ctx))
    while not any(event.data["stage"] == "controls" for event in world.events("stage.started")):
        await asyncio.sleep(0.005)
    world.fakes.trainer.step_s = 30
    while len(world.fakes.trainer.jobs) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    ctx.cancelled.set()
    await asyncio.wait_for(running, 5)
    assert world.store.get_run("r-1").status is RunStatus.CANCELLED
    assert [job.state.state for job in world.fakes.trainer.jobs.values()][-1] == 5
    assert world.fakes.generator.adapters == {}


async def test_run_events_name_the_arm_and_progress_reaches_its_total(world) -> None:
    await world.run(world.context(study_json(iterations=1, arms=ALL)))
    named = {event.data["arm"] for event in world.events("training.progress") if "arm" in event.data}
    assert named == set(TRAINED)
    told = [event.data for event in world.events("stage.progress") if event.data["stage"] == "controls"]
    # 4 further references, 16 of the other set, and 8 of each of five arms.
    assert (told[-1]["done"], told[-1]["total"]) == (60, 60)
    done = [entry["done"] for entry in told if "topic" not in entry]
    assert done == sorted(done)


async def test_run_measure_only_trains_nothing_and_measures_every_input(world) -> None:
    await world.run(world.context(study_json(measure_only=True, principles=6)))
    report = world.report()
    assert world.fakes.trainer.jobs == {}
    assert report.stop_reason == "measure_only"
    assert (report.analysis.primary, report.analysis.verdict) == (None, None)
    assert set(report.counts) == {"original", "aligned", "base_p3", "base_reference"}
    assert report.counts["base_p3"].requested == 24
    assert {len(members) for members in evidence(world).split["test"].values()} == {6}
    assert {arm.kind for arm in report.analysis.arms} >= {"base_p3", "base_reference"}
    assert world.events("verdict.reached") == []
    assert "other" not in report.analysis.not_run


async def test_run_one_pair_alone_has_no_analysis_and_says_so(world) -> None:
    await world.run(world.context(study_json([("privacy", "Privacy")], principles=1)))
    report = world.report()
    assert report.analysis is None
    assert "nothing to analyse" in report.warnings[0]


async def test_run_with_the_default_arms_and_measurement_ends_with_a_verdict(world) -> None:
    defaults = {"arms": {"other_reference_set": other_set()}, "measurement": {}}
    await world.run(world.context(study_json(principles=20, iterations=1, **defaults)))
    report = world.report()
    assert report.analysis.verdict is not None
    assert report.counts["tuned-s2"].requested == 40
    assert {arm.kind: arm.training_seeds for arm in report.analysis.arms}["tuned"] == 3
