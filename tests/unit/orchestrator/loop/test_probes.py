"""The probes on the fake generator: what they ask, what they keep, and what they say when they cannot."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.common.artifacts import sha256_bytes
from services.common.errors import NotReadyError
from services.orchestrator.analysis.evidence import Arm, ArmKind, Output
from services.orchestrator.loop import probes, probes_asking, probes_polarity
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.probes import run_probes
from services.orchestrator.loop.tally import USED
from services.orchestrator.ports import AdapterRef, Completion, GenerationItem, Score, ScoreItem
from tests.fakes.studies import study_json
from tests.unit.orchestrator.loop.conftest import World

TUNED = AdapterRef("r-1-i1-0badcafe", "a" * 64, "file:///adapter")
MODELS = [("base", None), ("realigned-i1", TUNED)]
ARMS = [
    Arm("original", ArmKind.ORIGINAL),
    Arm("aligned", ArmKind.ALIGNED),
    Arm("base_p3", ArmKind.BASE_P3),
    Arm("realigned-i1", ArmKind.TUNED, training_seed=0),
]
TEST = [("privacy", 0), ("fairness", 1)]
OUTPUTS = [
    Output(arm.name, topic, index, sample, f"{arm.name} says {topic} {index} {sample}.")
    for arm in ARMS
    for topic, index in [*TEST, ("privacy", 7)]
    for sample in (0, 1)
]


def task_bytes(items: int = 3, answer: int = 1) -> bytes:
    rows = [
        {"question": f"Question {n}?", "choices": ["red", "green"], "answer": answer} for n in range(items)
    ]
    return "\n".join(json.dumps(row) for row in rows).encode()


def context(world: World, *tasks: bytes, **guards: Any) -> RunContext:
    named = []
    for number, data in enumerate(tasks):
        digest = sha256_bytes(data)
        world.artifacts.put_bytes(f"assets/{digest}", data)
        named.append({"name": f"task-{number}", "sha256": digest})
    return world.context(study_json(guards={"tasks": named, **guards}))


async def run(ctx: RunContext, models: Any = MODELS) -> tuple[dict[str, Any], dict[str, str]]:
    return await run_probes(ctx, models, ARMS, OUTPUTS, TEST)


class NoScores:
    """A generator that cannot score, or not everything."""

    def __init__(self, ctx: RunContext, refuses: str = "") -> None:
        self._real = ctx.services.generator
        self._refuses = refuses

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncIterator[Score]:
        if not self._refuses:
            raise NotReadyError("nobody there")
        for item in items:
            if self._refuses in item.key:
                yield Score(item.key, 0.0, 0, "INVALID_INPUT", "prompt of 9 tokens is too long")
            else:
                yield Score(item.key, -1.0, 2)


def without_scores(ctx: RunContext, refuses: str = "") -> None:
    object.__setattr__(ctx.services, "generator", NoScores(ctx, refuses))


async def test_run_probes_all_wanted_gives_every_part(world: World) -> None:
    ctx = context(world, task_bytes())
    found, not_run = await run(ctx)
    assert not_run == {}
    utility, polarity, tasks = found["utility"], found["polarity"], found["tasks"]
    assert len(utility["prompts"]) == 32
    assert utility["prompt_set"]["id"] == "general"
    assert {arm: len(rows) for arm, rows in utility["answers"].items()} == {"base": 32, "realigned-i1": 32}
    assert all(row["logprob"] < 0 and row["tokens"] > 0 for row in utility["answers"]["base"])
    assert {arm: len(rows) for arm, rows in utility["completions"].items()} == {
        "base": 32,
        "realigned-i1": 32,
    }
    pairs = [(row["source"], row["by"]) for row in utility["scores"]]
    assert len(pairs) == 4 * 32
    assert len(set(pairs)) == 4
    assert "{statement}" in polarity["question"]
    assert [row["contradicts"] for row in polarity["calibration"]] == [False, True]
    assert polarity["calibration"][1]["statement"] == "You shall not tell the truth."
    judged = {(row["arm"], row["topic"], row["index"], row["sample"]) for row in polarity["outputs"]}
    arms = ("aligned", "base_p3", "realigned-i1")
    assert judged == {(arm, topic, index, 0) for arm in arms for topic, index in TEST}
    assert tasks["task-0"]["margin"] == 0.02
    assert [row["id"] for row in tasks["task-0"]["arms"]["base"]] == ["1", "2", "3"]
    assert all(row["correct"] == (row["choice"] == 1) for row in tasks["task-0"]["arms"]["realigned-i1"])


async def test_run_probes_tuned_answers_come_from_its_adapter(world: World) -> None:
    ctx = context(world, polarity=False)
    found, _ = await run(ctx)
    assert set(world.fakes.generator.loads) == {TUNED.name}
    base, tuned = found["utility"]["answers"]["base"], found["utility"]["answers"]["realigned-i1"]
    assert base != tuned


async def test_run_probes_tuned_models_are_scored_against_the_base_and_not_each_other(world: World) -> None:
    other = AdapterRef("r-1-s1-i1-0badcafe", "b" * 64, "file:///other")
    found, _ = await run(context(world, polarity=False), models=[*MODELS, ("tuned-s1", other)])
    pairs = {(row["source"], row["by"]) for row in found["utility"]["scores"]}
    tuned = ("realigned-i1", "tuned-s1")
    assert pairs == {("base", "base")} | {
        pair for arm in tuned for pair in ((arm, arm), ("base", arm), (arm, "base"))
    }
    last = [event.data for event in world.events("stage.progress")][-1]
    assert last["done"] == last["total"] == 32 * (6 + 7)


async def test_run_probes_again_asks_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_asking, "PART_ITEMS", 10)
    first = await run(context(world, task_bytes()))
    asked = world.fakes.generator.asked.total()
    assert await run(context(world, task_bytes())) == first
    assert world.fakes.generator.asked.total() == asked


async def test_run_probes_interrupted_asks_only_for_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes_asking, "PART_ITEMS", 10)
    only_task: dict[str, Any] = {"polarity": False, "general_prompts": None}
    ctx = context(world, task_bytes(20), **only_task)
    stored = 0
    put_value = ctx.store.put_value

    def die(*args: Any) -> None:
        nonlocal stored
        # What was used so far is stored beside each part.
        stored += args[1] != USED
        if stored == 3:
            raise ZeroDivisionError
        put_value(*args)

    with monkeypatch.context() as patch:
        patch.setattr(ctx.store, "put_value", die)
        with pytest.raises(ZeroDivisionError):
            await run(ctx)
    found, _ = await run(context(world, task_bytes(20), **only_task))
    assert len(found["tasks"]["task-0"]["arms"]["realigned-i1"]) == 20
    twice = {name for name, count in world.fakes.generator.asked.items() if count > 1}
    # Two parts of ten were stored; the third was answered and lost.
    assert twice == {f"base|score|{item}/{choice}" for item in range(10, 15) for choice in (0, 1)}


async def test_run_probes_switched_off_says_so(world: World) -> None:
    found, not_run = await run(context(world, general_prompts=None, polarity=False))
    assert found == {}
    assert not_run == {
        "utility": probes.SWITCHED_OFF,
        "polarity": probes.SWITCHED_OFF,
        "tasks": probes.NO_TASKS,
    }


async def test_run_probes_nothing_tuned_judges_texts_only(world: World) -> None:
    found, not_run = await run(context(world, task_bytes()), models=[("base", None)])
    assert set(found) == {"polarity"}
    assert not_run["utility"] == probes.NOTHING_TUNED
    assert not_run["tasks"] == f"task-0: {probes.NOTHING_TUNED}"


async def test_run_probes_scores_not_to_be_had_is_told_and_the_run_goes_on(world: World) -> None:
    ctx = context(world, task_bytes())
    without_scores(ctx)
    found, not_run = await run(ctx)
    assert found == {}
    assert set(not_run) == {"utility", "polarity", "tasks"}
    assert "nobody there (NOT_READY)" in not_run["utility"]
    assert [event.data["probe"] for event in world.events("probe.failed")] == [
        "utility",
        "polarity",
        "tasks/task-0",
    ]


async def test_run_probes_missing_task_leaves_the_other_task(world: World) -> None:
    ctx = context(world, task_bytes(), task_bytes(answer=0))
    world.artifacts.delete(world.artifacts.uri(f"assets/{ctx.study.guards.tasks[0].sha256}"))
    found, not_run = await run(ctx)
    assert set(found["tasks"]) == {"task-1"}
    assert not_run["tasks"].startswith("task-0: no such artifact")


async def test_run_probes_prompt_too_long_is_left_out_for_all_and_named(world: World) -> None:
    ctx = context(world, polarity=False)
    without_scores(ctx, refuses="explain-rain")
    found, _ = await run(ctx)
    utility = found["utility"]
    assert [row["id"] for row in utility["failed"]] == ["explain-rain"]
    assert "too long" in utility["failed"][0]["why"]
    for rows in (*utility["answers"].values(), *utility["completions"].values()):
        assert len(rows) == 31
    assert len(utility["prompts"]) == 31
    assert len(utility["scores"]) == 4 * 31


async def test_run_probes_item_that_cannot_be_asked_is_left_out_for_all(world: World) -> None:
    ctx = context(world, task_bytes(), polarity=False, general_prompts=None)
    without_scores(ctx, refuses="1/0")
    task = (await run(ctx))[0]["tasks"]["task-0"]
    assert [row["id"] for row in task["failed"]] == ["2"]
    assert [row["id"] for row in task["arms"]["base"]] == ["1", "3"]
    # Equal scores: the first choice, as numpy's argmax has it.
    assert [row["choice"] for row in task["arms"]["base"]] == [0, 0]


async def test_run_probes_statement_that_cannot_be_judged_is_left_out_and_named(world: World) -> None:
    ctx = context(world, general_prompts=None)
    without_scores(ctx, refuses="No/aligned/privacy/0")
    polarity = (await run(ctx))[0]["polarity"]
    assert [row["id"] for row in polarity["failed"]] == ["aligned/privacy/0"]
    assert len(polarity["outputs"]) == 5


async def test_run_probes_adapter_lost_on_the_way_is_loaded_again(world: World) -> None:
    world.fakes.generator.lose_adapters_after = 5
    found, not_run = await run(context(world, polarity=False))
    assert "utility" not in not_run
    assert len(found["utility"]["completions"]["realigned-i1"]) == 32
    # Its answers, its texts, and both models' texts scored by it: loading is told each time, and once more.
    assert len(world.fakes.generator.loads) == 5


async def test_run_probes_model_that_says_nothing_at_all_is_told(world: World) -> None:
    world.fakes.generator.garbage_with_adapter = True
    found, not_run = await run(context(world, polarity=False))
    assert "utility" not in found
    assert not_run["utility"].startswith("'realigned-i1' said nothing on any of 32 general prompts")


async def test_run_probes_model_that_is_silent_once_has_a_text_without_tokens(world: World) -> None:
    ctx = context(world, polarity=False)
    generate = ctx.services.generator.generate

    async def silent_once(items: Sequence[GenerationItem], adapter: str = "") -> AsyncIterator[Completion]:
        async for completion in generate(items, adapter):
            yield replace(completion, text="") if completion.key == "explain-rain" and adapter else completion

    ctx.services.generator.generate = silent_once  # type: ignore[method-assign]
    found, _ = await run(ctx)
    rows = [row for row in found["utility"]["scores"] if row["id"] == "explain-rain"]
    tokens = {(row["source"], row["by"]): row["tokens"] for row in rows}
    assert tokens["realigned-i1", "base"] == tokens["realigned-i1", "realigned-i1"] == 0
    assert tokens["base", "base"] > 0


async def test_run_probes_progress_ends_where_its_total_is(world: World) -> None:
    await run(context(world, task_bytes()))
    last = [event.data for event in world.events("stage.progress")][-1]
    # 32 prompts: two answers, two texts, four scores; 2 known and 6 judged texts; 3 items of 2 choices.
    assert last == {"stage": "probes", "done": 256 + 16 + 12, "total": 256 + 16 + 12}


async def test_run_probes_same_seed_for_both_models(world: World) -> None:
    ctx = context(world, polarity=False)
    seeds: dict[str, list[int | None]] = {}
    generate = ctx.services.generator.generate

    async def noted(items: Sequence[GenerationItem], adapter: str = "") -> AsyncIterator[Completion]:
        seeds.setdefault(adapter, []).extend(item.sampling.seed for item in items)
        assert {(item.sampling.temperature, item.sampling.top_p) for item in items} == {(1.0, 1.0)}
        async for completion in generate(items, adapter):
            yield completion

    ctx.services.generator.generate = noted  # type: ignore[method-assign]
    await run(ctx)
    assert seeds[""] == seeds[TUNED.name]
    assert len(set(seeds[""])) == 32


def test_calibration_of_a_set_in_another_language_is_refused_with_the_reason(world: World) -> None:
    study = study_json()
    study["reference_set"]["languages"] = ["zh"]
    with pytest.raises(Exception, match="English sentences only"):
        probes_polarity.calibration(world.context(study).resolved.reference_set)


def test_written_pairs_texts_outside_the_test_part_with_their_opposites(world: World) -> None:
    reference = world.context(study_json()).resolved.reference_set
    texts = [Output("aligned", "privacy", n, 0, "You shall keep it secret.") for n in (0, 7)]
    rows = probes_polarity.written(reference, texts, [("privacy", 0)], 1)
    assert [row["id"] for row in rows] == ["written/privacy/7/same", "written/privacy/7/opposite"]
    assert rows[1]["statement"] == "You shall not keep it secret."
    assert [row["contradicts"] for row in rows] == [False, True]


def test_calibration_of_principles_without_an_opposite_is_refused(world: World) -> None:
    study = study_json()
    study["reference_set"]["principles"][0]["text"] = "Truth, beauty"
    with pytest.raises(Exception, match="could not be calibrated"):
        probes_polarity.calibration(world.context(study).resolved.reference_set)
