"""The registry in SQL: histories, compare and swap, and the audit log's entries."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.common.errors import ConflictError, InvalidInputError, NotFoundError, PreconditionError
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.records import RunStatus
from services.orchestrator.registry.records import AdapterState, ReplicaAdapter, ReplicaRecord, ReplicaState
from services.orchestrator.store import SqlRunStore
from tests.fakes.registry import add, new_adapter
from tests.fakes.studies import study_json

ANA = Principal("key:ana", frozenset(Scope))
S = AdapterState


def states(store: SqlRunStore, name: str) -> list[tuple[str, str]]:
    return [(change.state.value, change.actor) for change in store.registry.history(name)]


def actions(store: SqlRunStore) -> list[str]:
    return [entry.action for entry in store.audit_log.all_entries()]


def serve(store: SqlRunStore, adapter: str, version: int, route: str = "valign", **more: object) -> None:
    store.registry.routes.set(
        route, adapter=adapter, expected_version=version, reason="promoted", action="adapter.promote", **more
    )


def test_register_twice_is_one_adapter_with_one_entry(store: SqlRunStore) -> None:
    first = store.registry.register(new_adapter("a"))
    assert store.registry.register(new_adapter("a")) == first
    assert first.state is S.TRAINED
    assert states(store, "a") == [("trained", "valign")]
    assert actions(store) == ["adapter.register"]
    with pytest.raises(ConflictError, match="stands for sha256"):
        store.registry.register(new_adapter("a", sha256="0" * 64))


def test_move_writes_state_history_and_audit_together_and_once(store: SqlRunStore) -> None:
    store.registry.register(new_adapter("a"))
    with acting_as(ANA):
        assert store.registry.move("a", S.PROVEN, "loaded")
        assert not store.registry.move("a", S.PROVEN, "loaded again")
    assert states(store, "a") == [("trained", "valign"), ("proven", "key:ana")]
    assert store.registry.get("a").reason == "loaded"
    assert actions(store) == ["adapter.register", "adapter.prove"]
    with pytest.raises(PreconditionError, match="cannot become trained"):
        store.registry.move("a", S.TRAINED, "back")
    assert not store.registry.move("a", S.RETIRED, "no", only_from={S.TRAINED})
    assert not store.registry.move("unknown", S.RETIRED, "no", only_from={S.TRAINED})
    with pytest.raises(NotFoundError, match="no adapter 'unknown'"):
        store.registry.move("unknown", S.RETIRED, "no")
    assert len(actions(store)) == 2


def test_note_changes_the_reason_and_not_the_age(store: SqlRunStore) -> None:
    store.registry.register(new_adapter("a"))
    before = store.registry.get("a")
    assert store.registry.note("a", "why")
    assert not store.registry.note("a", "why")
    assert not store.registry.note("unknown", "why")
    after = store.registry.get("a")
    assert (after.reason, after.update_time, after.state) == ("why", before.update_time, S.TRAINED)


def test_page_newest_first_and_filtered(store: SqlRunStore) -> None:
    add(store.registry, *(f"a{number}" for number in range(7)))
    add(store.registry, "other", state=S.TRAINED, run_id="r-2")
    names, token = [], ""
    while True:
        page, token = store.registry.page(page_size=3, page_token=token)
        names += [one.name for one in page]
        if not token:
            break
    assert names == ["other", *(f"a{number}" for number in range(6, -1, -1))]
    assert [one.name for one in store.registry.page(S.TRAINED)[0]] == ["other"]
    assert [one.name for one in store.registry.page(run_id="r-2")[0]] == ["other"]
    with pytest.raises(InvalidInputError):
        store.registry.page(page_size=0)
    with pytest.raises(InvalidInputError):
        store.registry.page(None, "", 50, "nonsense")


def test_set_route_promotes_the_new_one_and_retires_the_former(store: SqlRunStore) -> None:
    add(store.registry, "a", "b")
    with acting_as(ANA):
        serve(store, "a", 0)
        serve(store, "b", 1)
    assert (store.registry.get("a").state, store.registry.get("b").state) == (S.RETIRED, S.PROMOTED)
    route = store.registry.routes.get("valign")
    assert route is not None
    assert (route.adapter, route.version, route.update_by) == ("b", 2, "key:ana")
    assert [(one.version, one.adapter) for one in store.registry.routes.history("valign")] == [
        (1, "a"),
        (2, "b"),
    ]
    last = store.audit_log.entries()[-1]
    assert (last.action, last.target, last.actor) == ("adapter.promote", "b", "key:ana")
    assert json.loads(last.details)["former"] == "a"


def test_set_route_adapter_of_another_route_stays_promoted(store: SqlRunStore) -> None:
    add(store.registry, "a", "b")
    serve(store, "a", 0)
    serve(store, "a", 0, route="other")
    serve(store, "b", 1)
    assert store.registry.get("a").state is S.PROMOTED
    serve(store, "b", 1, route="other")
    assert store.registry.get("a").state is S.RETIRED


def test_set_route_two_at_once_one_wins_and_nothing_is_half_done(store: SqlRunStore) -> None:
    names = [f"a{number}" for number in range(8)]
    add(store.registry, *names)

    def try_(name: str) -> str:
        try:
            serve(store, name, 0)
        except ConflictError:
            return ""
        return name

    with ThreadPoolExecutor(8) as pool:
        won = [name for name in pool.map(try_, names) if name]
    assert len(won) == 1
    route = store.registry.routes.get("valign")
    assert route is not None
    assert (route.adapter, route.version) == (won[0], 1)
    assert [one.name for one in store.registry.page(S.PROMOTED)[0]] == won
    assert actions(store).count("adapter.promote") == 1


def test_set_route_state_has_changed_since_is_a_conflict(store: SqlRunStore) -> None:
    add(store.registry, "a")
    with pytest.raises(ConflictError, match="has become candidate"):
        serve(store, "a", 0, expected_states={"a": S.PROVEN})
    assert store.registry.routes.get("valign") is None
    store.registry.reject("a", "rude")
    with pytest.raises(PreconditionError, match="is rejected"):
        serve(store, "a", 0)
    with pytest.raises(NotFoundError):
        serve(store, "unknown", 0)


def test_reject_what_a_route_or_canary_serves_is_refused(store: SqlRunStore) -> None:
    add(store.registry, "a", "b")
    serve(store, "a", 0, canary_adapter="b", canary_share=0.1)
    for name in ("a", "b"):
        with pytest.raises(PreconditionError, match="is what route valign serves"):
            store.registry.reject(name, "rude")
    serve(store, "a", 1)
    store.registry.reject("b", "rude")
    store.registry.reject("b", "rude")
    assert actions(store).count("adapter.reject") == 1


def test_approve_twice_is_one_entry(store: SqlRunStore) -> None:
    add(store.registry, "a")
    with acting_as(ANA):
        assert store.registry.approve("a", "fine")
        assert not store.registry.approve("a", "fine again")
    assert [(one.actor, one.comment) for one in store.registry.approvals("a")] == [("key:ana", "fine")]
    assert actions(store).count("adapter.approve") == 1


def test_claim_pruning_once_and_never_what_is_referred_to(store: SqlRunStore) -> None:
    add(store.registry, "a", "b", "c")
    serve(store, "a", 0)
    serve(store, "b", 1)
    assert store.registry.get("a").state is S.RETIRED
    assert not store.registry.claim_pruning("a", "old", 5)
    assert not store.registry.claim_pruning("b", "old", 0)
    assert not store.registry.claim_pruning("c", "old", 0)
    # What a roll-back goes to stays, however little else is kept.
    assert not store.registry.claim_pruning("a", "old", 1)
    serve(store, "c", 2)
    assert not store.registry.claim_pruning("a", "old", 5)
    assert store.registry.claim_pruning("a", "old", 1)
    assert not store.registry.claim_pruning("a", "old", 1)
    assert store.registry.get("a").prune_time is not None
    with pytest.raises(PreconditionError, match="was pruned"):
        serve(store, "a", 3)


def test_claim_pruning_many_steps_of_a_canary_do_not_use_up_what_is_kept(store: SqlRunStore) -> None:
    add(store.registry, "a", "b", "c")
    serve(store, "a", 0)
    serve(store, "b", 1)
    for version, share in enumerate((0.01, 0.05, 0.25, 0.5, 0.75, 0.9), 2):
        serve(store, "b", version, canary_adapter="c", canary_share=share)
    assert not store.registry.claim_pruning("a", "old", 5)
    assert "a" in store.registry.routes.referred(5)


def test_move_to_rejected_of_what_a_canary_serves_is_refused_and_told(store: SqlRunStore) -> None:
    add(store.registry, "a", "c")
    serve(store, "a", 0)
    serve(store, "a", 1, canary_adapter="c", canary_share=0.5)
    only_from = {S.CANDIDATE, S.PROVEN, S.RETIRED}
    assert not store.registry.move("c", S.REJECTED, "reject: too uniform", only_from=only_from)
    assert not store.registry.move("c", S.REJECTED, "reject: too uniform", only_from=only_from)
    record = store.registry.get("c")
    assert record.state is S.CANDIDATE
    assert record.reason == "not rejected while route valign names it: reject: too uniform"
    assert actions(store).count("adapter.note") == 1
    serve(store, "a", 2)
    assert store.registry.move("c", S.REJECTED, "reject: too uniform", only_from=only_from)


def test_claim_pruning_of_a_run_that_was_opened_again_is_refused(store: SqlRunStore) -> None:
    add(store.registry, "a")
    run_id = store.registry.get("a").run_id
    store.registry.move("a", S.REJECTED, "refused")
    store.create_run(run_id, "demo", {"name": "demo"})
    assert not store.registry.claim_pruning("a", "old", 0)
    store.change_status(run_id, RunStatus.CANCELLED, "run.cancelled")
    assert store.registry.claim_pruning("a", "old", 0)


def test_lift_same_content_under_a_higher_version(store: SqlRunStore) -> None:
    add(store.registry, "a")
    serve(store, "a", 0)
    lifted = store.registry.routes.lift("valign", 1, 9)
    assert (lifted.adapter, lifted.version) == ("a", 9)
    assert store.registry.routes.lift("valign", 1, 12).version == 9
    assert [one.version for one in store.registry.routes.history("valign")] == [1, 9]
    add(store.registry, "b")
    serve(store, "b", 9)
    assert store.registry.get("a").state is S.RETIRED


def test_open_runs_are_those_that_have_not_ended(store: SqlRunStore) -> None:
    for run_id in ("r-1", "r-2"):
        store.create_run(run_id, "x", study_json())
    store.update_run("r-2", status="failed")
    assert store.registry.open_runs() == {"r-1"}


def test_replicas_are_what_was_seen_last(store: SqlRunStore) -> None:
    replicas = store.registry.replicas
    replicas.note(ReplicaAdapter("g:1", "a", ReplicaState.LOADING, "", 1))
    replicas.note(ReplicaAdapter("g:1", "a", ReplicaState.FAILED, "damaged", 1))
    replicas.seen(ReplicaRecord("g:1", True, "f" * 64, {"valign": 3}))
    replicas.seen(ReplicaRecord("g:2", False, error="away"))
    assert [(one.target, one.serving) for one in replicas.records()] == [("g:1", True), ("g:2", False)]
    [entry] = replicas.adapters("a")
    assert (entry.state, entry.reason, entry.update_time is not None) == (
        ReplicaState.FAILED,
        "damaged",
        True,
    )
    replicas.keep_only(["g:2"])
    assert ([one.target for one in replicas.records()], replicas.adapters()) == (["g:2"], [])


def test_register_again_what_was_pruned_is_there_again(store: SqlRunStore) -> None:
    add(store.registry, "a", state=S.RETIRED)
    assert store.registry.claim_pruning("a", "old", 0)
    again = store.registry.register(new_adapter("a"))
    assert (again.prune_time, again.state) == (None, S.RETIRED)
    assert store.registry.pruned_since(again.create_time) == []
