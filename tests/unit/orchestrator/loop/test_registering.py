"""What runs tell the registry."""

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.analysis.results import Reason, Verdict
from services.orchestrator.loop import registering
from services.orchestrator.loop.swap import load
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import AdapterRef, RunStatus
from services.orchestrator.registry.records import AdapterState
from tests.fakes.registry import add, new_adapter
from tests.fakes.studies import study_json

S = AdapterState
ARMS = {"training_seeds": 1, "controls": ["shuffled"]}


def told(world) -> dict[str, tuple[str, int, str]]:
    """(arm, iteration, state) by adapter."""
    return {one.name: (one.arm, one.iteration, one.state.value) for one in world.store.registry.of_run("r-1")}


async def test_run_registers_each_adapter_and_passes_over_all_but_the_best(world) -> None:
    study = study_json(arms=ARMS, promotion={"approval": True})
    await world.run(world.context(study))
    best = world.report().adapter
    found = told(world)
    assert sorted(found.values()) == sorted(
        [
            ("", 1, "retired"),
            ("", 2, "rejected"),
            ("shuffled", 1, "retired"),
            ("shuffled", 2, "retired"),
        ]
    )
    record = world.store.registry.get(best.name)
    assert (record.sha256, record.uri, record.base_model) == (best.sha256, best.uri, "fake/model")
    assert (record.rank, record.approval_required, record.created_by) == (16, True, "valign")
    # The fake model learns as much from shuffled targets: the gate sees through it, and gives the reason.
    verdict = world.report().analysis.verdict
    assert verdict.decision == "reject"
    assert record.reason.startswith("reject: ")
    assert next(reason.text for reason in verdict.reasons if reason.outcome == "reject") in record.reason
    states = [change.state for change in world.store.registry.history(best.name)]
    assert states == [S.TRAINED, S.PROVEN, S.REJECTED]
    other = next(name for name, entry in found.items() if entry == ("", 1, "retired"))
    assert world.store.registry.get(other).reason == f"passed over: run r-1 chose {best.name}"


async def test_run_resumed_after_its_last_record_tells_nothing_twice(world) -> None:
    await world.run(world.context(study_json(iterations=1)))
    before = [world.store.registry.history(name) for name in told(world)]
    for step in ("train_1", "load_1", "verdict"):
        del world.recorded[step]
    world.store.create_run("r-2", "x", study_json())
    await world.run(world.context(study_json(iterations=1)))
    assert [world.store.registry.history(name) for name in told(world)] == before


async def test_run_that_only_measures_registers_nothing(world) -> None:
    await world.run(world.context(study_json(measure_only=True)))
    assert world.report()
    assert told(world) == {}


async def test_run_failed_leaves_its_adapters_as_they_are(world) -> None:
    world.fakes.generator.garbage_with_adapter = True
    await world.run(world.context(study_json(iterations=1)))
    assert world.store.get_run("r-1").status is RunStatus.FAILED
    assert [entry[2] for entry in told(world).values()] == ["proven"]


@pytest.mark.parametrize(
    ("decision", "state"), [("promote", S.CANDIDATE), ("hold", S.PROVEN), ("reject", S.REJECTED)]
)
async def test_decided_the_gates_word_becomes_the_adapters_state(world, decision: str, state) -> None:
    ctx = world.context(study_json())
    add(world.store.registry, "best", state=S.PROVEN)
    reasons = (
        Reason(rule="one", outcome=decision, text="because of this"),
        Reason(rule="two", outcome="promote" if decision != "promote" else "hold", text="not of that"),
    )
    verdict = Verdict(decision=decision, headline="The word.", reasons=reasons)

    class Found:
        """All that is read of an analysis here."""

        def __init__(self) -> None:
            self.verdict = verdict

    facts = {"best_iteration": 1, "iterations": [{}, {"adapter": {"name": "best"}}]}
    for _ in range(2):
        await registering.decided(ctx, facts, Found())
    record = world.store.registry.get("best")
    said = "The word." if decision == "promote" else f"{decision}: because of this"
    assert (record.state, record.reason) == (state, said)
    assert len(world.store.registry.history("best")) == 3


async def test_load_refused_by_the_generator_is_told_and_changes_no_state(world) -> None:
    ctx = world.context(study_json())
    world.store.registry.register(new_adapter("r-1-i1-00000000"))
    world.fakes.generator.refuse_loads[""] = PreconditionError("no effect on the canaries")
    reference = AdapterRef("r-1-i1-00000000", "0" * 64, "file:///adapters/x")
    with pytest.raises(PreconditionError):
        await load(ctx, reference)
    record = world.store.registry.get("r-1-i1-00000000")
    assert (record.state, record.reason) == (
        S.TRAINED,
        "the generator refused it: no effect on the canaries",
    )
    world.fakes.generator.refuse_loads.clear()
    await load(ctx, reference)
    assert world.store.registry.get("r-1-i1-00000000").state is S.PROVEN


async def test_run_never_unloads_what_a_route_names(world) -> None:
    name = "r-0-i1-00000000"
    world.fakes.generator.slots = 2
    world.fakes.generator.adapters = {name: "a", "r-00-i1-00000000": "b"}
    for run_id in ("r-0", "r-00"):
        world.store.create_run(run_id, "earlier", study_json())
        world.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded")
    add(world.store.registry, name)
    world.store.registry.routes.set(
        "valign", adapter=name, expected_version=0, reason="promoted", action="adapter.promote"
    )
    await world.run(world.context(study_json(iterations=1)))
    assert set(world.fakes.generator.adapters) == {name, world.report().adapter.name}


async def test_run_promoted_before_it_ended_keeps_that_adapter(world) -> None:
    """Somebody may promote an adapter of a run that goes on: the run neither unloads nor retires it."""
    promoted: list[str] = []

    async def record(name: str, body):
        envelope = await world.record(name, body)
        if name == "load_1" and not promoted:
            promoted.append(next(iter(told(world))))
            world.store.registry.routes.set(
                "valign", adapter=promoted[0], expected_version=0, reason="x", action="adapter.promote"
            )
        return envelope

    ctx = world.context(study_json())
    result = await realign_model(ctx, record)
    await registering.ended(ctx, result["adapter"]["name"])
    assert world.store.registry.get(promoted[0]).state is S.PROMOTED
    assert promoted[0] in world.fakes.generator.adapters
