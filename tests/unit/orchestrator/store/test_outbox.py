"""The outbox: written with what it tells or not at all, read in order, each reader from where it was."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.outbox import announce


def _announce(store: SqlRunStore, kind: str, subject: str = "runs/r-1") -> None:
    with store._engine.begin() as connection:
        announce(connection, kind, subject, {"n": float("nan")})


def test_announce_committed_is_read_in_order_with_finite_data(store: SqlRunStore) -> None:
    for kind in ("run.ended", "adapter.promoted", "monitor.drift"):
        _announce(store, kind)
    found = store.platform.outbox.after(0)
    assert [(one.sequence, one.type, one.data) for one in found] == [
        (1, "run.ended", {"n": None}),
        (2, "adapter.promoted", {"n": None}),
        (3, "monitor.drift", {"n": None}),
    ]
    assert len({one.event_id for one in found}) == 3
    assert [one.sequence for one in store.platform.outbox.after(1, limit=1)] == [2]
    assert store.platform.outbox.head() == 3


def test_announce_rolled_back_leaves_nothing_and_no_gap(store: SqlRunStore) -> None:
    with pytest.raises(RuntimeError), store._engine.begin() as connection:
        announce(connection, "run.ended", "runs/r-1")
        raise RuntimeError("the change that it tells failed")
    _announce(store, "adapter.promoted")
    assert [(one.sequence, one.type) for one in store.platform.outbox.after(0)] == [(1, "adapter.promoted")]


def test_announce_from_many_threads_has_no_gap(store: SqlRunStore) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: _announce(store, f"run.{number}"), range(20)))
    assert [one.sequence for one in store.platform.outbox.after(0)] == list(range(1, 21))


def test_mark_read_is_kept_for_each_reader(store: SqlRunStore) -> None:
    outbox = store.platform.outbox
    assert outbox.read_by("webhooks") is None
    outbox.mark_read("webhooks", 0)
    outbox.mark_read("webhooks", 7)
    outbox.mark_read("mlflow", 3)
    assert (outbox.read_by("webhooks"), outbox.read_by("mlflow")) == (7, 3)
