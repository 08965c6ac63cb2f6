"""What counts as an outage, and that nothing is stored twice because of one."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from services.common.errors import NotReadyError
from services.orchestrator.ports import RunStatus
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.outage import Patience, passes
from tests.fakes.orchestrator import migrated_store

STUDY = {"name": "demo", "seed": 0}


def test_passes_refused_connection_yes_missing_table_no(tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("postgresql://127.0.0.1:1/nothing")
    assert passes(refused.value)
    with sqlite3.connect(tmp_path / "x.db") as database, pytest.raises(sqlite3.OperationalError) as missing:
        database.execute("SELECT * FROM nowhere")
    database.close()
    assert not passes(missing.value)
    assert not passes(ValueError("not of a database"))


def test_passes_postgresql_states_by_class() -> None:
    assert passes(psycopg.errors.AdminShutdown())
    assert passes(psycopg.errors.CrashShutdown())
    assert passes(psycopg.errors.DiskFull())
    assert passes(psycopg.errors.DeadlockDetected())
    assert not passes(psycopg.errors.QueryCanceled())
    assert not passes(psycopg.errors.UniqueViolation())


def test_keep_outage_ends_repeats_until_it_does() -> None:
    told: list[bool] = []

    def work(again: bool) -> int:
        told.append(again)
        if len(told) < 3:
            raise NotReadyError("away")
        return 7

    assert Patience(10).keep(work) == 7
    assert told == [False, True, True]


def test_keep_time_is_over_raises_with_the_seconds() -> None:
    def work(again: bool) -> int:
        raise NotReadyError("away")

    with pytest.raises(NotReadyError, match=r"away \(waited 0 s for the database\)"):
        Patience(0.2).keep(work)


def test_close_ends_a_wait_that_goes_on() -> None:
    patience = Patience(5)
    longer = patience.longer(600)

    def work(again: bool) -> int:
        raise NotReadyError("away")

    threading.Timer(0.2, patience.close).start()
    began = time.monotonic()
    with pytest.raises(NotReadyError):
        longer.keep(work)
    assert time.monotonic() - began < 60


class LostCommit:
    """The answers to the next commits are lost: stored or not, the caller sees a broken connection."""

    def __init__(self, store: SqlRunStore, stored: bool) -> None:
        self._left = 1
        self._stored = stored
        sa.event.listen(store._engine, "commit", self._commit)

    def _commit(self, connection: sa.Connection) -> None:
        if self._left:
            self._left -= 1
            driver: Any = connection.connection.driver_connection
            driver.execute("COMMIT" if self._stored else "ROLLBACK")
            raise NotReadyError("the connection broke")


@pytest.fixture(params=[True, False], ids=["stored", "not_stored"])
def losing(request: pytest.FixtureRequest, store: SqlRunStore) -> SqlRunStore:
    """A store with a run, whose next commit's answer is lost."""
    store.create_run("r-1", "demo", STUDY)
    LostCommit(store, request.param)
    return store


def test_add_event_answer_lost_stores_it_once(losing: SqlRunStore) -> None:
    event = losing.add_event("r-1", "topic.means", {"mean": 1.0})
    assert [(found.number, found.kind) for found in losing.events("r-1")] == [
        (1, "run.queued"),
        (2, "topic.means"),
    ]
    assert event.number == 2


def test_change_status_answer_lost_tells_once_and_says_so(losing: SqlRunStore) -> None:
    assert losing.change_status("r-1", RunStatus.RUNNING, "run.started")
    assert [event.kind for event in losing.events("r-1")] == ["run.queued", "run.started"]


def test_create_run_answer_lost_is_the_same_run(losing: SqlRunStore) -> None:
    run, created = losing.create_run("r-2", "demo", STUDY, "key")
    assert created
    assert run == losing.get_run("r-2")
    assert len(losing.events("r-2")) == 1


def test_locked_sqlite_file_is_waited_for_then_told(tmp_path: Path) -> None:
    store, _ = migrated_store(tmp_path)
    store.create_run("r-1", "demo", STUDY)
    store.patience = Patience(0.3)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
    holder = sqlite3.connect(tmp_path / "valign.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(NotReadyError, match="locked"):
            store.put_value("r-1", "key", 1)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    store.put_value("r-1", "key", 1)
    assert store.get_value("r-1", "key") == 1
    store.close()
