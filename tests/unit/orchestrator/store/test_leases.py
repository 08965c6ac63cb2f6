"""The lease and the fence of writes, on both databases."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from services.orchestrator.ports import CompletionRecord, LeadershipLost, RunStatus
from services.orchestrator.registry.records import NewAdapter
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.leases import Lease


def _lead(store: SqlRunStore, holder: str = "a") -> int:
    epoch = store.leases.acquire(holder, store.leases.read())
    assert epoch is not None
    return epoch


def test_acquire_of_a_new_lease_is_epoch_1_and_of_a_released_one_the_next(store: SqlRunStore) -> None:
    assert store.leases.read() is None
    assert _lead(store) == 1
    assert store.leases.release("a", 1)
    assert store.leases.read() == Lease("", 1, 0)
    assert _lead(store, "b") == 2


def test_acquire_of_a_lease_that_has_moved_is_refused(store: SqlRunStore) -> None:
    epoch = _lead(store)
    seen = store.leases.read()
    assert store.leases.renew("a", epoch)
    assert store.leases.acquire("b", seen) is None
    assert store.leases.acquire("b", None) is None
    assert store.leases.read() == Lease("a", 1, 1)


def test_renew_and_release_of_another_epoch_are_refused(store: SqlRunStore) -> None:
    old = _lead(store)
    new = _lead(store, "b")
    assert not store.leases.renew("a", old)
    assert not store.leases.release("a", old)
    assert not store.leases.renew("a", new)
    assert store.leases.renew("b", new)


def test_acquire_by_many_at_once_is_won_by_one(store: SqlRunStore) -> None:
    _lead(store)
    seen = store.leases.read()
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.leases.acquire(f"h{number}", seen), range(8)))
    assert [epoch for epoch in won if epoch is not None] == [2]


def test_lineage_stays(store: SqlRunStore) -> None:
    assert store.leases.lineage() == store.leases.lineage()
    assert len(store.leases.lineage()) == 32


def test_bound_store_writes_while_its_epoch_leads_and_nothing_after(store: SqlRunStore) -> None:
    bound = store.bound(_lead(store))
    bound.create_run("r-1", "demo", {"name": "demo"})
    bound.put_value("r-1", "x", 1)
    _lead(store, "b")
    row = CompletionRecord("a", "t", 0, 0, "x", "x", "ok", "stop", 1, "", "")
    writes = [
        lambda: bound.put_value("r-1", "x", 2),
        lambda: bound.add_event("r-1", "x"),
        lambda: bound.change_status("r-1", RunStatus.FAILED, "run.failed"),
        lambda: bound.update_run("r-1", stage="x"),
        lambda: bound.add_completions("r-1", [row]),
        lambda: bound.mark_paused("r-1"),
        bound.check_leads,
    ]
    for write in writes:
        with pytest.raises(LeadershipLost, match="epoch 1 is over"):
            write()
    assert store.get_value("r-1", "x") == 1
    assert (store.get_run("r-1").status, len(store.events("r-1"))) == (RunStatus.QUEUED, 1)
    assert store.completions("r-1") == []
    store.put_value("r-1", "x", 3)


def test_bound_store_after_release_is_refused(store: SqlRunStore) -> None:
    epoch = _lead(store)
    bound = store.bound(epoch)
    store.leases.release("a", epoch)
    with pytest.raises(LeadershipLost):
        bound.check_leads()


def test_renew_while_the_loop_writes_without_a_pause_is_not_starved(store: SqlRunStore) -> None:
    epoch = _lead(store)
    bound = store.bound(epoch)
    bound.create_run("r-1", "demo", {"name": "demo"})
    stop = threading.Event()

    def write(number: int) -> None:
        while not stop.is_set():
            bound.put_value("r-1", f"x{number}", 1)

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, number) for number in range(3)]
        try:
            assert all(store.leases.renew("a", epoch) for _ in range(20))
        finally:
            stop.set()
        for one in writing:
            one.result()


def test_takeover_waits_for_a_write_under_way_and_no_write_follows_it(store: SqlRunStore) -> None:
    bound = store.bound(_lead(store))
    seen = store.leases.read()
    order: list[str] = []

    def take() -> None:
        assert store.leases.acquire("b", seen) == 2
        order.append("taken")

    taking = threading.Thread(target=take)
    with bound._writing() as connection:
        taking.start()
        taking.join(0.5)
        connection.execute(sa.text("SELECT 1"))
        order.append("written")
    taking.join()
    assert order == ["written", "taken"]


def test_bound_registry_of_an_epoch_that_is_over_writes_nothing(store: SqlRunStore) -> None:
    bound = store.bound(_lead(store))
    name, base = "r-1-i1-aaaaaaaa", "b" * 64
    new = NewAdapter(name, "a" * 64, "file:///a", "r-1", "", 1, "base", base, 8, False, "local")
    assert bound.registry.register(new).name == name
    _lead(store, "b")
    with pytest.raises(LeadershipLost):
        bound.registry.register(replace(new, name="r-1-i2-aaaaaaaa"))
    assert [one.name for one in store.registry.page()[0]] == [name]


def test_renew_while_calls_hold_every_other_connection_does_not_wait(store: SqlRunStore) -> None:
    epoch = _lead(store)
    held = [store._engine.connect() for _ in range(15)]
    try:
        began_s = time.monotonic()
        assert store.leases.renew("a", epoch)
        assert time.monotonic() - began_s < 2
    finally:
        for connection in held:
            connection.close()
