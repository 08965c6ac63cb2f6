"""Filtered and paged lists on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.access.keys import new_key
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.listing import AuditFilter, ListOrder, Page, RunFilter, Verdict
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore
from tests.fakes.registry import add
from tests.fakes.studies import study_json

ANA = Principal("key:ana", frozenset(Scope))


def _ids(store: SqlRunStore, **where: object) -> list[str]:
    return [run.run_id for run in store.list_runs(where=RunFilter(**where))[0]]  # type: ignore[arg-type]


def _ended(store: SqlRunStore, run_id: str, decision: str) -> None:
    store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded", {"decision": decision})


def test_list_runs_each_filter_finds_its_runs(store: SqlRunStore) -> None:
    study = study_json()
    with acting_as(ANA):
        store.create_run("r-1", "nightly", study)
    store.create_run("r-2", "demo", {**study, "reference_set": {"id": "other"}})
    store.create_run("r-3", "demo", study)
    assert _ids(store, name="demo") == ["r-3", "r-2"]
    assert _ids(store, created_by="key:ana") == ["r-1"]
    assert _ids(store, reference_set="other") == ["r-2"]
    assert _ids(store, reference_set=study["reference_set"]["id"]) == ["r-3", "r-1"]
    second = store.get_run("r-2").create_time
    assert _ids(store, created_after=second) == ["r-3", "r-2"]
    assert _ids(store, created_before=second) == ["r-1"]
    assert _ids(store, created_after=datetime.now(UTC) + timedelta(days=1)) == []
    assert _ids(store, name="demo", created_by="key:ana") == []


def test_list_runs_verdict_is_that_of_the_last_end(store: SqlRunStore) -> None:
    for run_id in ("r-1", "r-2"):
        store.create_run(run_id, "demo", study_json())
        _ended(store, run_id, "reject")
    store.create_run("r-open", "demo", study_json())
    store.retry_run("r-2", "")
    assert _ids(store, verdict=Verdict.REJECT) == ["r-1"]
    _ended(store, "r-2", "promote")
    assert (_ids(store, verdict=Verdict.REJECT), _ids(store, verdict=Verdict.PROMOTE)) == (["r-1"], ["r-2"])
    assert _ids(store, verdict=Verdict.HOLD) == []


def test_list_runs_oldest_first_gives_every_run_once(store: SqlRunStore) -> None:
    ids = [f"r-{number}" for number in range(5)]
    for run_id in ids:
        store.create_run(run_id, "demo", study_json())
    found, token = [], ""
    while True:
        runs, token = store.list_runs(page=Page(2, token, ListOrder.OLDEST))
        found += [run.run_id for run in runs]
        if not token:
            break
    assert found == ids


def test_page_token_is_bound_to_its_filters_and_order(store: SqlRunStore) -> None:
    for number in range(3):
        store.create_run(f"r-{number}", "demo", study_json())
    _, token = store.list_runs(page_size=1)
    assert store.list_runs(page_size=2, page_token=token)[0]
    for changed in (
        {"where": RunFilter(name="demo")},
        {"status": RunStatus.QUEUED},
        {"page": Page(1, token, ListOrder.OLDEST)},
    ):
        with pytest.raises(InvalidInputError, match="other filters or another order"):
            store.list_runs(**{"page_token": token, **changed})  # type: ignore[arg-type]


def test_other_lists_page_by_the_same_rules(store: SqlRunStore) -> None:
    add(store.registry, *(f"a-{number}" for number in range(3)))
    for number in range(3):
        key, _, _ = new_key(f"k{number}", ["read"], 60, create_by="t")
        store.api_keys.add(key, "0" * 64)
    adapters, token = store.registry.page(page_size=2)
    assert [one.name for one in adapters] == ["a-2", "a-1"]
    assert [one.name for one in store.registry.page(page_size=2, page_token=token)[0]] == ["a-0"]
    keys, token = store.api_keys.page(Page(2))
    assert [key.name for key in keys] == ["k2", "k1"]
    rest, end = store.api_keys.page(Page(2, token))
    assert ([key.name for key in rest], end) == (["k0"], "")
    assert store.assets.asset_page(None, Page(2)) == ([], "")


def test_audit_entries_each_filter_finds_its_entries(store: SqlRunStore) -> None:
    with acting_as(ANA):
        store.create_run("r-1", "demo", study_json())
    store.create_run("r-2", "demo", study_json())
    store.request_cancel("r-2")
    log = store.audit_log

    def sequences(**where: object) -> list[int]:
        return [one.sequence for one in log.entries(where=AuditFilter(**where))]  # type: ignore[arg-type]

    assert sequences(actor="key:ana") == [1]
    assert sequences(action="run.create") == [1, 2]
    assert sequences(target="r-2", target_kind="run") == [2, 3]
    third = datetime.fromisoformat(log.entries()[2].time)
    assert sequences(time_after=third) == [3]
    assert sequences(time_before=third) == [1, 2]
