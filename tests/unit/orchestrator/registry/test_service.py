"""Promotions, canaries, roll-backs and approvals, over generators on ports of their own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from services.orchestrator.identity import LOCAL, Principal, Scope, acting_as
from services.orchestrator.ports import RunStatus
from services.orchestrator.registry.automatic import Automatic
from services.orchestrator.registry.leading import RegistryTasks
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.records import AdapterState
from services.orchestrator.registry.retention import Retention
from services.orchestrator.registry.service import Registry
from services.orchestrator.store import SqlRunStore
from tests.fakes.registry import Fleet, add, fleet
from tests.fakes.studies import study_json

ANA = Principal("key:ana", frozenset({Scope.RUN, Scope.PROMOTE, Scope.APPROVE}))
BEN = Principal("key:ben", frozenset({Scope.APPROVE}))
READER = Principal("key:reader", frozenset({Scope.READ}))
S = AdapterState


@pytest.fixture
async def three() -> AsyncIterator[Fleet]:
    async with fleet(3) as made:
        yield made


@pytest.fixture
def tasks(store: SqlRunStore, three: Fleet, tmp_path) -> RegistryTasks:
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    return RegistryTasks(store.registry, store, artifacts, three.replicas, Retention(0, timedelta(0)), 60)


@pytest.fixture
def registry(tasks: RegistryTasks) -> Registry:
    return tasks.registry


async def settle(store: SqlRunStore, three: Fleet) -> None:
    await Reconciler(store.registry, three.replicas).step()


async def test_promote_loads_and_proves_everywhere_before_the_route_moves(store, three, registry) -> None:
    add(store.registry, "a")
    view = await registry.promote("a")
    assert (view.route.name, view.route.adapter, view.route.version) == ("valign", "a", 1)
    assert view.state == "pending"
    assert all(list(three.generator(number).adapters) == ["a"] for number in range(3))
    await settle(store, three)
    view, history = await registry.route("valign")
    assert view.state == "settled"
    assert [replica.routes["valign"] for replica in view.replicas] == [1, 1, 1]
    assert [(one.version, one.adapter, one.actor) for one in history] == [(1, "a", "valign")]
    assert (await registry.adapter("a")).adapter.state is S.PROMOTED
    again = await registry.promote("a")
    assert again.route.version == 1


async def test_promote_a_replica_that_refuses_or_is_away_changes_nothing(store, three, registry) -> None:
    add(store.registry, "a", "b")
    await registry.promote("a")
    await settle(store, three)
    three.generator(1).refuse_loads["b"] = PreconditionError("adapter b has no effect")
    three.generator(2).serving = False
    with pytest.raises(PreconditionError, match="nothing was changed") as caught:
        await registry.promote("b")
    assert caught.value.details["replicas"].keys() == set(three.targets[1:])
    assert f"{three.targets[1]}: adapter b has no effect" in caught.value.message
    await settle(store, three)
    assert three.served() == ["a", "a", "a"]
    assert (await registry.adapter("b")).adapter.state is S.CANDIDATE
    [refused] = [one for one in (await registry.adapter("b")).replicas if one.state.value == "failed"]
    assert (refused.target, refused.reason) == (three.targets[1], "adapter b has no effect")


async def test_promote_many_at_once_one_wins(store, three, registry) -> None:
    names = [f"a{number}" for number in range(6)]
    add(store.registry, *names)
    said = await asyncio.gather(*(registry.promote(name) for name in names), return_exceptions=True)
    won = [one for one in said if not isinstance(one, BaseException)]
    lost = [one for one in said if isinstance(one, BaseException)]
    assert len(won) == 1
    assert all(isinstance(one, ConflictError) for one in lost)
    await settle(store, three)
    assert three.served() == [won[0].route.adapter] * 3
    assert [one.name for one in store.registry.page(S.PROMOTED)[0]] == [won[0].route.adapter]


async def test_promote_what_the_gate_holds_needs_a_reason_and_an_admin(store, three, registry) -> None:
    add(store.registry, "held", state=S.PROVEN)
    with pytest.raises(PreconditionError, match="proven, not a candidate"):
        await registry.promote("held")
    with acting_as(ANA), pytest.raises(ForbiddenError, match="admin"):
        await registry.promote("held", override_reason="we know better")
    await registry.promote("held", override_reason="we know better")
    entry = store.audit_log.entries()[-1]
    assert (entry.action, entry.target) == ("adapter.promote", "held")
    assert '"override_reason":"we know better"' in entry.details
    assert "against the gate: we know better" in (await registry.adapter("held")).adapter.reason
    add(store.registry, "bad", state=S.REJECTED)
    with pytest.raises(PreconditionError, match="is rejected"):
        await registry.promote("bad", override_reason="we know better")
    add(store.registry, "young", state=S.TRAINED)
    with pytest.raises(PreconditionError, match="no generator has proven it"):
        await registry.promote("young", override_reason="we know better")


async def test_approve_takes_a_second_person(store, three, registry) -> None:
    add(store.registry, "a", approval_required=True)
    with acting_as(ANA):
        with pytest.raises(PreconditionError, match="approval of somebody other than key:ana"):
            await registry.promote("a")
        with pytest.raises(PreconditionError, match="key:ana began run r-1"):
            await registry.approve("a")
    with acting_as(READER), pytest.raises(ForbiddenError):
        await registry.approve("a")
    with acting_as(BEN):
        await registry.approve("a", "looks right")
    with acting_as(ANA):
        assert (await registry.promote("a")).route.adapter == "a"
    details = await registry.adapter("a")
    assert [(one.actor, one.comment) for one in details.approvals] == [("key:ben", "looks right")]


async def test_approve_without_credentials_says_how_to_get_a_second_person(store, registry) -> None:
    add(store.registry, "a", approval_required=True, created_by="local")
    with acting_as(LOCAL), pytest.raises(PreconditionError, match="give each person an API key"):
        await registry.approve("a")


async def test_roll_back_is_one_call_and_goes_back_step_by_step(store, three, registry) -> None:
    add(store.registry, "a", "b")
    with pytest.raises(NotFoundError, match="was never set"):
        await registry.roll_back()
    for name in ("a", "b"):
        await registry.promote(name)
        await settle(store, three)
    view = await registry.roll_back(reason="rude answers")
    assert (view.route.adapter, view.route.version) == ("a", 3)
    await settle(store, three)
    assert three.served() == ["a", "a", "a"]
    assert (await registry.adapter("b")).adapter.state is S.RETIRED
    assert store.audit_log.entries()[-1].action == "route.roll_back"
    # Again: not forward to b, but to what was before a.
    assert (await registry.roll_back()).route.adapter == ""
    await settle(store, three)
    assert three.served() == ["", "", ""]
    with pytest.raises(PreconditionError, match="nothing before it"):
        await registry.roll_back()
    # Forward again, by name and without an override: both were promoted before.
    assert (await registry.roll_back(to="b")).route.adapter == "b"
    assert (await registry.promote("a")).route.adapter == "a"
    assert (await registry.roll_back()).route.adapter == "b"


async def test_roll_back_to_what_it_never_served_or_must_not_serve_is_refused(store, three, registry) -> None:
    add(store.registry, "a", "b", "c")
    await registry.promote("a")
    await registry.promote("b")
    for to, said in (("c", "never served adapter 'c'"), ("b", "serves adapter b already"), ("\0", "never")):
        with pytest.raises(PreconditionError, match=said):
            await registry.roll_back(to=to)
    await registry.reject("a", "rude")
    with pytest.raises(PreconditionError, match="is rejected"):
        await registry.roll_back()
    assert (await registry.roll_back(to="")).route.adapter == ""


async def test_roll_back_a_dead_replica_holds_nothing_back_and_one_that_refuses_does(
    store, three, registry
) -> None:
    add(store.registry, "a", "b")
    await registry.promote("a")
    await settle(store, three)
    await registry.promote("b")
    await settle(store, three)
    three.generator(0).serving = False
    await registry.roll_back()
    await settle(store, three)
    assert three.served() == ["b", "a", "a"]
    three.generator(0).serving = True
    await settle(store, three)
    assert three.served() == ["a", "a", "a"]
    three.generator(1).refuse_loads["b"] = PreconditionError("damaged")
    with pytest.raises(PreconditionError, match="damaged"):
        await registry.roll_back(to="b")


async def test_set_canary_begins_moves_and_ends(store, three, registry) -> None:
    add(store.registry, "a", "b", "held")
    view = await registry.set_canary("", "b", 0.1)
    assert (view.route.adapter, view.route.canary_adapter, view.route.canary_share) == ("", "b", 0.1)
    await settle(store, three)
    assert three.generator(0).routes["valign"].canary_adapter == "b"
    await registry.promote("a")
    # A promotion ends the canary.
    assert (await registry.route("valign"))[0].route.canary_share == 0
    assert (await registry.set_canary("valign", "b", 0.2)).route.canary_adapter == "b"
    assert (await registry.adapter("b")).adapter.state is S.CANDIDATE
    ended = await registry.set_canary("valign", "", 0)
    assert (ended.route.adapter, ended.route.canary_adapter, ended.route.version) == ("a", "", 4)
    assert (await registry.set_canary("valign", "", 0)).route.version == 4
    for share in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(InvalidInputError, match="share"):
            await registry.set_canary("valign", "b", share)
    with pytest.raises(InvalidInputError, match="no canary"):
        await registry.set_canary("valign", "a", 0.1)
    with pytest.raises(NotFoundError):
        await registry.set_canary("other", "", 0)
    with pytest.raises(NotFoundError):
        await registry.set_canary("valign", "", 0.1)
    store.registry.reject("held", "rude")
    with pytest.raises(PreconditionError, match="is rejected"):
        await registry.set_canary("valign", "held", 0.1)


@pytest.mark.parametrize("name", ["", "none", "\0", "../a", "ü", "x" * 300])
async def test_unknown_and_odd_names_are_not_found(registry, name: str) -> None:
    for call in (registry.adapter, registry.approve, registry.promote, registry.route):
        with pytest.raises(NotFoundError):
            await call(name)
    with pytest.raises(NotFoundError):
        await registry.reject(name, "rude")


@pytest.mark.parametrize("name", ["a b", "\0", "ü", "x" * 65, "../a"])
async def test_odd_route_names_are_invalid(store, registry, name: str) -> None:
    add(store.registry, "a")
    for call in (registry.promote("a", name), registry.set_canary(name, "a", 0.1), registry.roll_back(name)):
        with pytest.raises(InvalidInputError, match="route name"):
            await call


async def test_texts_that_are_too_long_or_no_text_are_refused(store, registry) -> None:
    add(store.registry, "a", created_by="key:other")
    for text in ("x" * 2001, "a\0b", "\x1b[2J"):
        for call in (
            registry.approve("a", text),
            registry.reject("a", text),
            registry.promote("a", "", text),
        ):
            with pytest.raises(InvalidInputError):
                await call
    with pytest.raises(InvalidInputError, match="needs a reason"):
        await registry.reject("a", "  ")


async def test_scopes_are_asked_for(store, registry) -> None:
    add(store.registry, "a")
    with acting_as(READER):
        for call in (
            registry.promote("a"),
            registry.set_canary("", "a", 0.1),
            registry.roll_back(),
            registry.reject("a", "rude"),
            registry.prune(),
        ):
            with pytest.raises(ForbiddenError):
                await call
        assert await registry.prune(dry_run=True) == []


async def test_prune_removes_files_of_what_nothing_refers_to(store, registry, tmp_path) -> None:
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "w").write_text("x")
    uris = {}
    for name, state in (("old", S.RETIRED), ("cand", S.CANDIDATE), ("serves", S.CANDIDATE)):
        uris[name] = artifacts.put_folder(f"adapters/{name}", tmp_path / "made", {}).uri
        add(store.registry, name, state=state, uri=uris[name])
    add(store.registry, "of-a-run", state=S.TRAINED, run_id="r-9")
    store.create_run("r-9", "x", study_json())
    await registry.promote("serves")
    assert await registry.prune(dry_run=True) == ["old"]
    assert artifacts.exists(uris["old"])
    assert await registry.prune() == ["old"]
    assert [artifacts.exists(uri) for uri in uris.values()] == [False, True, True]
    details = await registry.adapter("old")
    assert details.adapter.prune_time is not None
    assert details.history[-1].reason.startswith("pruned")
    assert await registry.prune() == []
    with pytest.raises(PreconditionError, match="files are gone"):
        await registry.promote("old", override_reason="we know better")


@pytest.mark.parametrize("share", [None, 0.2])
async def test_automatic_promotes_once_after_the_run_has_succeeded(store, three, tasks, share) -> None:
    promotion = {"automatic": True, "route": "public", "canary_share": share}
    store.create_run("r-1", "x", study_json(promotion=promotion))
    add(store.registry, "a")
    automatic = Automatic(tasks.registry, store.registry, store)
    await settle(store, three)
    await automatic.step()
    assert store.registry.routes.all() == []
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded")
    await automatic.step()
    route = store.registry.routes.get("public")
    assert route is not None
    assert (route.adapter, route.canary_adapter) == (("a", "") if share is None else ("", "a"))
    # Whoever ends it has the last word.
    if share is None:
        await tasks.registry.roll_back("public")
    else:
        await tasks.registry.set_canary("public", "", 0)
    await automatic.step()
    assert store.registry.routes.get("public").adapters == frozenset()


async def test_automatic_failure_is_told_and_left_to_a_person(store, three, tasks) -> None:
    store.create_run("r-1", "x", study_json(promotion={"automatic": True}))
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded")
    add(store.registry, "a")
    await settle(store, three)
    three.generator(0).refuse_loads["a"] = PreconditionError("damaged")
    automatic = Automatic(tasks.registry, store.registry, store)
    await automatic.step()
    three.generator(0).refuse_loads.clear()
    await automatic.step()
    assert store.registry.routes.all() == []
    found = (await tasks.registry.adapter("a")).adapter
    assert (found.state, "damaged" in found.reason) == (S.CANDIDATE, True)
    assert (await tasks.registry.promote("a")).route.adapter == "a"


async def test_automatic_is_not_what_other_studies_get(store, three, tasks) -> None:
    store.create_run("r-1", "x", study_json())
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded")
    add(store.registry, "a")
    add(store.registry, "b", run_id="r-gone")
    await settle(store, three)
    await Automatic(tasks.registry, store.registry, store).step()
    assert store.registry.routes.all() == []


async def test_override_counts_once_and_neither_does_a_roll_back_to_it(store, three, registry) -> None:
    add(store.registry, "held", state=S.PROVEN)
    add(store.registry, "good")
    await registry.promote("held", "trial", override_reason="a try")
    for route, back in (("valign", False), ("trial", True)):
        if back:
            await registry.promote("good", "trial")
            await registry.roll_back("trial")
        with acting_as(ANA), pytest.raises(PreconditionError, match="not a candidate"):
            await registry.promote("held", "other" if back else route)
    # What the gate let pass rolls forward freely.
    with acting_as(ANA):
        assert (await registry.promote("good", "trial")).route.adapter == "good"


async def test_promotion_asks_for_a_second_person_where_the_operator_does(store, three, tmp_path) -> None:
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    retention = Retention(0, timedelta(0))
    strict = RegistryTasks(
        store.registry, store, artifacts, three.replicas, retention, 60, require_approval=True
    ).registry
    add(store.registry, "a")
    with acting_as(ANA):
        for asked in (strict.promote("a"), strict.set_canary("valign", "a", 0.5)):
            with pytest.raises(PreconditionError, match="approval of somebody other"):
                await asked
    assert store.registry.routes.all() == []
    with acting_as(BEN):
        await strict.approve("a", "fine")
    with acting_as(ANA):
        assert (await strict.promote("a")).route.adapter == "a"


async def test_automatic_is_off_where_the_operator_asks_for_a_second_person(store, three, tmp_path) -> None:
    store.create_run("r-1", "demo", study_json(promotion={"automatic": True}))
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", {})
    add(store.registry, "a")
    await settle(store, three)
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    retention = Retention(0, timedelta(0))
    strict = RegistryTasks(
        store.registry, store, artifacts, three.replicas, retention, 60, require_approval=True
    ).registry
    await Automatic(strict, store.registry, store).step()
    assert store.registry.routes.all() == []
