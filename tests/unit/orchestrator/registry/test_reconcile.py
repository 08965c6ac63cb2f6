"""Three generators on ports of their own, and the leader who brings them to what is wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import NotReadyError, OverloadedError, PreconditionError
from services.orchestrator.registry import reconcile
from services.orchestrator.registry.loading import MAX_ATTEMPTS
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.records import AdapterState, ReplicaState
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.registry.views import view_of
from services.orchestrator.store import SqlRunStore
from tests.fakes.registry import Fleet, add, fleet
from tests.fakes.studies import study_json


@pytest.fixture
async def three() -> AsyncIterator[Fleet]:
    """Three replicas."""
    async with fleet(3) as made:
        yield made


@pytest.fixture
def reconciler(store: SqlRunStore, three: Fleet) -> Reconciler:
    return Reconciler(store.registry, three.replicas)


def want(store: SqlRunStore, adapter: str, canary: str = "", share: float = 0.0) -> int:
    """Move the wanted state, as a promotion does; returns the version."""
    now = store.registry.routes.get("valign")
    route = store.registry.routes.set(
        "valign",
        adapter=adapter,
        canary_adapter=canary,
        canary_share=share,
        expected_version=now.version if now else 0,
        reason="promoted",
        action="adapter.promote",
    )
    return route.version


def state_of(store: SqlRunStore, three: Fleet) -> tuple[str, str]:
    route = store.registry.routes.get("valign")
    assert route is not None
    registry = store.registry.replicas
    view = view_of(route, three.targets, registry.records(), registry.adapters())
    return view.state, view.reason


def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written down is old by now."""
    monkeypatch.setattr(reconcile, "_GRACE", timedelta(0))


async def test_step_every_replica_loads_and_serves(store, three: Fleet, reconciler: Reconciler) -> None:
    add(store.registry, "a", "b")
    want(store, "a", "b", 0.25)
    assert state_of(store, three)[0] == "pending"
    await reconciler.step()
    assert three.served() == ["a", "a", "a"]
    for number in range(3):
        assert set(three.generator(number).adapters) == {"a", "b"}
        assert three.generator(number).routes["valign"].canary_share == 0.25
    assert state_of(store, three) == ("settled", "")
    entries = store.registry.replicas.adapters("a")
    assert [entry.state for entry in entries] == [ReplicaState.PROVEN] * 3
    assert entries[0].proof["canaries"] == 4
    loads = [list(three.generator(number).loads) for number in range(3)]
    await reconciler.step()
    assert [three.generator(number).loads for number in range(3)] == loads
    assert all(len(three.generator(number).route_orders) == 1 for number in range(3))


async def test_step_replica_that_restarts_empty_is_refilled(store, three: Fleet, reconciler) -> None:
    add(store.registry, "a")
    want(store, "a")
    await reconciler.step()
    await three.stop(1)
    await reconciler.step()
    state, reason = state_of(store, three)
    assert (state, three.targets[1] in reason) == ("pending", True)
    await three.start_again(1)
    assert three.served() == ["a", None, "a"]
    async with asyncio.timeout(20):
        while three.served() != ["a", "a", "a"]:
            await reconciler.step()
            await asyncio.sleep(0.1)
    await reconciler.step()
    assert list(three.generator(1).adapters) == ["a"]
    assert state_of(store, three) == ("settled", "")
    assert len(three.generator(0).loads) == 1


async def test_step_replica_that_loses_its_engine_alone_is_refilled(store, three, reconciler) -> None:
    add(store.registry, "a")
    want(store, "a")
    await reconciler.step()
    three.generator(2).restart()
    await reconciler.step()
    assert three.served() == ["a", "a", "a"]


async def test_step_one_refuses_the_load_and_the_route_moves_nowhere(store, three, reconciler) -> None:
    add(store.registry, "a", "b")
    want(store, "a")
    await reconciler.step()
    three.generator(2).refuse_loads["b"] = PreconditionError("adapter b has no effect on the canaries")
    want(store, "b")
    for _ in range(3):
        await reconciler.step()
    assert three.served() == ["a", "a", "a"]
    state, reason = state_of(store, three)
    assert state == "failed"
    assert reason == f"{three.targets[2]} cannot load b: adapter b has no effect on the canaries"
    entries = {entry.target: entry for entry in store.registry.replicas.adapters("b")}
    assert entries[three.targets[2]].state is ReplicaState.FAILED
    # Terminal: it was tried once.
    assert entries[three.targets[2]].attempts == 1
    [seen] = [one for one in store.registry.replicas.records() if one.target == three.targets[2]]
    assert "has no effect" in seen.error
    # What the route serves meanwhile stays where it is.
    assert all("a" in three.generator(number).adapters for number in range(3))


async def test_step_failed_load_is_tried_again_by_a_replica_that_came_back(store, three, reconciler) -> None:
    add(store.registry, "a")
    want(store, "a")
    three.generator(0).refuse_loads["a"] = PreconditionError("rank 64 is more than 16")
    await reconciler.step()
    assert three.served() == [None, None, None]
    three.generator(0).serving = False
    await reconciler.step()
    three.generator(0).serving = True
    three.generator(0).refuse_loads.clear()
    await reconciler.step()
    assert three.served() == ["a", "a", "a"]


async def test_step_first_move_waits_for_all_then_the_rest_follow(store, three, reconciler) -> None:
    add(store.registry, "a")
    want(store, "a")
    three.generator(1).serving = False
    await reconciler.step()
    assert three.served() == [None, None, None]
    assert list(three.generator(0).adapters) == ["a"]
    three.generator(1).serving = True
    await reconciler.step()
    assert three.served() == ["a", "a", "a"]


async def test_step_going_back_does_not_wait_for_a_dead_replica(store, three, reconciler) -> None:
    add(store.registry, "a", "b")
    want(store, "a")
    await reconciler.step()
    want(store, "b")
    await reconciler.step()
    three.generator(0).serving = False
    want(store, "a")
    await reconciler.step()
    assert three.served() == ["b", "a", "a"]
    want(store, "")
    await reconciler.step()
    assert three.served() == ["b", "", ""]
    three.generator(0).serving = True
    await reconciler.step()
    assert three.served() == ["", "", ""]


async def test_step_replica_with_another_base_model_is_an_error_and_never_loaded(
    store, three, reconciler
) -> None:
    add(store.registry, "a")
    three.generator(1).fingerprint = "0" * 64
    want(store, "a")
    await reconciler.step()
    assert three.generator(1).loads == []
    assert three.served() == [None, None, None]
    state, reason = state_of(store, three)
    assert (state, "serves another base model" in reason) == ("failed", True)
    three.generator(1).fingerprint = ""
    await reconciler.step()
    assert three.served() == ["a", "a", "a"]


async def test_step_passing_failures_are_tried_again_a_bounded_number_of_times(
    store, three, reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_LONGEST_PAUSE_S", 0.0)
    add(store.registry, "a")
    want(store, "a")
    three.generator(0).refuse_loads["a"] = NotReadyError("the engine was restarted")
    await reconciler.step()
    assert state_of(store, three)[0] == "pending"
    for _ in range(MAX_ATTEMPTS + 2):
        await reconciler.step()
    [entry] = [one for one in store.registry.replicas.adapters("a") if one.target == three.targets[0]]
    assert (entry.state, entry.attempts) == (ReplicaState.FAILED, MAX_ATTEMPTS)
    assert entry.reason.startswith(f"given up after {MAX_ATTEMPTS} attempts: the engine was restarted")


async def test_step_passing_failure_waits_before_the_next_attempt(store, three, reconciler) -> None:
    add(store.registry, "a")
    want(store, "a")
    three.generator(0).refuse_loads["a"] = OverloadedError("no slot is free")
    for _ in range(3):
        await reconciler.step()
    [entry] = [one for one in store.registry.replicas.adapters("a") if one.target == three.targets[0]]
    assert (entry.state, entry.attempts) == (ReplicaState.LOADING, 1)


async def test_step_full_replica_makes_room_by_what_nobody_needs(store, three, reconciler) -> None:
    add(store.registry, "retired", state=AdapterState.RETIRED)
    add(store.registry, "held", state=AdapterState.PROVEN)
    add(store.registry, "running", state=AdapterState.PROVEN, run_id="r-9")
    store.create_run("r-9", "x", study_json())
    add(store.registry, "a", "b")
    generator = three.generator(0)
    generator.slots = 4
    for name in ("retired", "held", "running", "by-hand"):
        generator.adapters[name] = "1" * 64
    want(store, "a", "b", 0.5)
    await reconciler.step()
    assert set(generator.adapters) == {"running", "by-hand", "a", "b"}
    assert three.served() == ["a", "a", "a"]


async def test_step_what_was_replaced_is_unloaded_after_the_route_moved(
    store, three, reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store.registry, "a", "b")
    add(store.registry, "held", state=AdapterState.PROVEN)
    want(store, "a")
    await reconciler.step()
    for number in range(3):
        three.generator(number).adapters |= {"held": "1" * 64, "by-hand": "2" * 64}
    want(store, "b")
    await reconciler.step()
    assert "a" in three.generator(0).adapters
    long_ago(monkeypatch)
    await reconciler.step()
    # Candidates and what the gate holds stay as their run left them; others' adapters stay.
    assert all(set(three.generator(n).adapters) == {"b", "held", "by-hand"} for n in range(3))
    assert store.registry.replicas.adapters("a") == []


async def test_step_adapter_of_a_run_that_goes_on_is_left(store, three, reconciler, monkeypatch) -> None:
    long_ago(monkeypatch)
    store.create_run("r-1", "x", study_json())
    add(store.registry, "a", state=AdapterState.REJECTED)
    three.generator(0).adapters["a"] = "1" * 64
    await reconciler.step()
    assert list(three.generator(0).adapters) == ["a"]
    store.update_run("r-1", status="succeeded")
    await reconciler.step()
    assert list(three.generator(0).adapters) == []


async def test_step_database_behind_its_replicas_goes_above_them(store, three, reconciler) -> None:
    add(store.registry, "a", "b")
    want(store, "a")
    await reconciler.step()
    for number in range(3):
        three.generator(number).routes["valign"].version = 7
        three.generator(number).routes["valign"].adapter = ""
    await reconciler.step()
    route = store.registry.routes.get("valign")
    assert route is not None
    assert (route.version, three.served()) == (8, ["a", "a", "a"])


async def test_lead_nudged_acts_at_once_and_an_error_does_not_end_it() -> None:
    steps: list[datetime] = []

    async def step() -> None:
        steps.append(datetime.now(UTC))
        raise RuntimeError("told to fail")

    ticker = Ticker("test", step, 60)
    leading = asyncio.create_task(ticker.lead(1))
    await until(lambda: len(steps) == 1)
    ticker.nudge()
    await until(lambda: len(steps) == 2)
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading


async def test_lead_goes_on_when_what_a_step_waits_for_is_cancelled_and_ends_when_it_is_itself() -> None:
    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    ticker = Ticker("test", step, 0.01)
    leading = asyncio.create_task(ticker.lead(1))
    await until(lambda: steps >= 3)
    leading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leading


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
