"""Every change of a run, an adapter or a route is told with it, exactly once, and not without it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator

from services.common.errors import ConflictError, PreconditionError
from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.ports import RunStatus
from services.orchestrator.registry.records import AdapterState
from services.orchestrator.store import SqlRunStore, announcing
from services.orchestrator.store.outbox import OutboxEvent
from services.orchestrator.store.tables_operations import audit_log
from services.orchestrator.store.tables_platform import outbox
from tests.fakes.registry import add, new_adapter

ANA = Principal("key:ana", frozenset(Scope))
BEN = Principal("key:ben", frozenset(Scope))
S = AdapterState
RESULT: dict[str, Any] = {
    "decision": "hold",
    "adapter": {"name": "r-1-i1-abcd", "sha256": "ab"},
    "reasons": [{"rule": "utility", "text": "0.2 is above 0.1", "value": 0.2, "threshold": 0.1}],
    "report_uri": "file:///report.json",
}


@pytest.fixture
def told(store: SqlRunStore) -> Iterator[Callable[[], list[OutboxEvent]]]:
    """What was announced so far; at the end each event fits the schema of its kind, and has no field more."""

    def read() -> list[OutboxEvent]:
        return store.platform.outbox.after(0, limit=1000)

    yield read
    for event in read():
        event_type = EVENT_TYPES[event.type]
        Draft202012Validator(event_type.schema()).validate(event.data)
        assert set(event.data) == set(event_type.data.model_fields)


def _run(store: SqlRunStore, run_id: str = "r-1") -> None:
    store.create_run(run_id, "demo", {"name": "demo"}, idempotency_key=f"key-{run_id}")


def _serve(
    store: SqlRunStore, adapter: str, version: int, action: str = "adapter.promote", **more: Any
) -> None:
    store.registry.routes.set(
        "valign", adapter=adapter, expected_version=version, reason="because", action=action, **more
    )


def kinds(events: list[OutboxEvent]) -> list[tuple[str, str]]:
    return [(event.type, event.subject) for event in events]


def test_run_created_twice_under_one_key_is_told_once(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    with acting_as(ANA):
        _run(store)
        store.create_run("r-2", "demo", {"name": "demo"}, idempotency_key="key-r-1")
        with pytest.raises(ConflictError):
            store.create_run("r-3", "demo", {"name": "other"}, idempotency_key="key-r-1")
    (event,) = told()
    assert kinds([event]) == [("run.created", "runs/r-1")]
    assert event.data["created_by"] == "key:ana"
    assert len(event.data["study_sha256"]) == 64


def test_run_ended_with_a_verdict_twice_is_told_once(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    _run(store)
    for _ in range(2):
        store.change_status("r-1", RunStatus.RUNNING, "run.started")
    for _ in range(2):
        store.change_status(
            "r-1", RunStatus.SUCCEEDED, "run.succeeded", RESULT, report_uri=RESULT["report_uri"]
        )
    store.change_status("r-1", RunStatus.FAILED, "run.failed", {"code": "INTERNAL"}, error_code="INTERNAL")
    _, ended, verdict = told()
    assert kinds([ended, verdict]) == [("run.ended", "runs/r-1"), ("run.verdict", "runs/r-1")]
    assert (ended.data["status"], ended.data["error_code"], ended.data["attempt"]) == ("succeeded", "", 1)
    assert ended.data["report_uri"] == "file:///report.json"
    assert (verdict.data["decision"], verdict.data["adapter"]) == ("hold", "r-1-i1-abcd")
    assert verdict.data["reasons"] == RESULT["reasons"]


def test_run_failed_and_retried_is_told_for_each_attempt(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    _run(store)
    fault = {"code": "NOT_READY", "message": "a model wrote: secret words"}
    store.change_status("r-1", RunStatus.FAILED, "run.failed", fault, error_code="NOT_READY")
    store.retry_run("r-1", "")
    store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled", {})
    ended = [event.data for event in told() if event.type == "run.ended"]
    assert [(one["status"], one["error_code"], one["attempt"]) for one in ended] == [
        ("failed", "NOT_READY", 1),
        ("cancelled", "", 2),
    ]
    assert "secret words" not in str(ended)


def test_run_that_only_measured_has_no_verdict(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    _run(store)
    result = {**RESULT, "decision": None, "adapter": None, "reasons": []}
    store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", result)
    assert [event.type for event in told()] == ["run.created", "run.ended"]


def test_adapter_registered_twice_is_told_once_and_again_after_pruning(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    for _ in range(2):
        store.registry.register(new_adapter("a"))
    store.registry.move("a", S.RETIRED, "passed over")
    assert store.registry.claim_pruning("a", "old", 5)
    for _ in range(2):
        store.registry.register(new_adapter("a"))
    assert [(event.type, event.data["again"]) for event in told()] == [
        ("adapter.registered", False),
        ("adapter.registered", True),
    ]


def test_candidate_that_needs_approval_asks_once_until_it_is_approved(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    add(store.registry, "a", state=S.PROVEN, approval_required=True)
    for _ in range(2):
        store.registry.move("a", S.CANDIDATE, "promote: every rule", only_from={S.PROVEN, S.RETIRED})
    with acting_as(BEN):
        for _ in range(2):
            store.registry.approve("a", "seen")
    # A retry chooses it once more: it is approved already.
    store.registry.move("a", S.RETIRED, "passed over")
    store.registry.move("a", S.CANDIDATE, "promote", only_from={S.RETIRED})
    events = [event for event in told() if event.type != "adapter.registered"]
    assert kinds(events) == [("adapter.approval_asked", "adapters/a"), ("adapter.approved", "adapters/a")]
    assert events[0].data["created_by"] == "key:ana"
    assert events[1].data["actor"] == "key:ben"


def test_candidate_asks_for_approval_if_the_installation_wants_it(store: SqlRunStore) -> None:
    add(store.registry, "free")
    assert "adapter.approval_asked" not in [event.type for event in store.platform.outbox.after(0)]
    store.registry.require_approval = True
    add(store.registry, "asked")
    assert kinds(store.platform.outbox.after(0))[-1] == ("adapter.approval_asked", "adapters/asked")


def test_adapter_rejected_by_gate_or_person_is_told_once(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    add(store.registry, "a", "b")
    for _ in range(2):
        store.registry.move("a", S.REJECTED, "reject: " + "x" * 900, only_from={S.CANDIDATE})
        with acting_as(BEN):
            store.registry.reject("b", "I saw it lie")
    events = [event for event in told() if event.type == "adapter.rejected"]
    assert [(event.subject, event.data["actor"]) for event in events] == [
        ("adapters/a", "valign"),
        ("adapters/b", "key:ben"),
    ]
    assert len(events[0].data["reason"]) == 500


def test_rejection_that_a_route_holds_off_is_not_told(store: SqlRunStore) -> None:
    add(store.registry, "a")
    _serve(store, "a", 0)
    assert not store.registry.move("a", S.REJECTED, "reject", only_from={S.PROMOTED})
    with pytest.raises(PreconditionError):
        store.registry.reject("a", "no")
    assert "adapter.rejected" not in [event.type for event in store.platform.outbox.after(0)]


def test_routes_tell_promotion_canary_and_roll_back_once(
    store: SqlRunStore, told: Callable[[], list[OutboxEvent]]
) -> None:
    add(store.registry, "a", "b")
    with acting_as(BEN):
        _serve(store, "a", 0)
        with pytest.raises(ConflictError):
            _serve(store, "b", 0)
        _serve(store, "a", 1, "route.set_canary", canary_adapter="b", canary_share=0.1)
        _serve(store, "b", 2)
        _serve(store, "a", 3, "route.roll_back")
        # The reconciler lifts versions: nothing that anybody outside sees.
        store.registry.routes.lift("valign", 4, 9)
    events = [event for event in told() if event.type != "adapter.registered"]
    assert kinds(events) == [
        ("adapter.promoted", "adapters/a"),
        ("route.canary", "routes/valign"),
        ("adapter.promoted", "adapters/b"),
        ("route.rolled_back", "routes/valign"),
    ]
    assert [(e.data["version"], e.data["adapter"], e.data["former"]) for e in events] == [
        (1, "a", ""),
        (2, "a", "a"),
        (3, "b", "a"),
        (4, "a", "b"),
    ]
    assert (events[1].data["canary_adapter"], events[1].data["canary_share"]) == ("b", 0.1)
    assert {event.data["actor"] for event in events} == {"key:ben"}


def test_route_set_for_an_unknown_reason_changes_nothing(store: SqlRunStore) -> None:
    add(store.registry, "a")
    with pytest.raises(ValueError, match="no event is known"):
        _serve(store, "a", 0, "route.turn")
    assert store.registry.routes.get("valign") is None


_CHANGES: dict[str, Callable[[SqlRunStore], object]] = {
    "run.created": lambda store: _run(store, "r-2"),
    "run.ended": lambda store: store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", RESULT),
    "adapter.registered": lambda store: store.registry.register(new_adapter("new")),
    "adapter.approval_asked": lambda store: store.registry.move("asks", S.CANDIDATE, "promote"),
    "adapter.approved": lambda store: store.registry.approve("a", "good"),
    "adapter.rejected": lambda store: store.registry.reject("a", "bad"),
    "adapter.promoted": lambda store: _serve(store, "a", 0),
}


@pytest.mark.parametrize("kind", sorted(_CHANGES))
@pytest.mark.parametrize("fails_at", [outbox, audit_log], ids=["outbox", "audit log"])
def test_change_whose_event_or_entry_cannot_be_written_is_undone(
    store: SqlRunStore, kind: str, fails_at: sa.Table
) -> None:
    _run(store)
    add(store.registry, "a")
    add(store.registry, "asks", state=S.PROVEN, approval_required=True)
    before = _everything(store)
    broken = fails_at.name

    def refuse(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(f"INSERT INTO {broken} "):
            raise OSError("the disk is gone")

    sa.event.listen(store._engine, "before_cursor_execute", refuse)
    with pytest.raises(OSError, match="disk is gone"):
        _CHANGES[kind](store)
    sa.event.remove(store._engine, "before_cursor_execute", refuse)
    assert _everything(store) == before
    _CHANGES[kind](store)
    added = [event.type for event in store.platform.outbox.after(len(before["outbox"]))]
    assert added[0] == kind


def _everything(store: SqlRunStore) -> dict[str, list[Any]]:
    with store._engine.connect() as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in outbox.metadata.sorted_tables
        }


def test_every_kind_is_documented_and_its_schema_is_one() -> None:
    for kind, event_type in EVENT_TYPES.items():
        assert kind == event_type.kind
        assert len(event_type.description) > 20
        Draft202012Validator.check_schema(event_type.schema())
        properties = event_type.schema()["properties"]
        assert all("description" in one or "$ref" in one for one in properties.values())
    assert announcing._KIND_OF.keys() == {event_type.data for event_type in EVENT_TYPES.values()}
