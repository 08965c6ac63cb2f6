"""The audit log in a database: one chain whoever appends, and every change by SQL is found."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.common.errors import InvalidInputError
from services.common.hash_chain import Anchor, entry_sha256
from services.orchestrator.assets import AssetKind, AssetRecord
from services.orchestrator.auditlog import AuditLog
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.records import RunStatus
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.tables_operations import audit_head, audit_log
from tests.fakes.orchestrator import migrated_store

ANN = Principal("key:ann", frozenset({Scope.RUN}))


@pytest.fixture
def ten(store: SqlRunStore) -> SqlRunStore:
    for number in range(10):
        store.audit_log.append("run.create", "run", f"r-{number}", {"name": "قيم", "n": number})
    return store


def _change(store: SqlRunStore, *statements: sa.Executable) -> None:
    with store._engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def _entries(store: SqlRunStore) -> list[dict[str, object]]:
    return [entry.as_dict() for entry in store.audit_log.all_entries()]


async def test_verify_untouched_is_intact_and_tells_the_head(ten: SqlRunStore) -> None:
    log = AuditLog(ten.audit_log)
    head = await log.head()
    found = await log.verify(head.sequence, head.sha256)
    assert (found.intact, found.entries, found.head_sha256) == (True, 10, head.sha256)


async def test_verify_empty_log_is_intact(store: SqlRunStore) -> None:
    assert (await AuditLog(store.audit_log).verify()).intact


@pytest.mark.parametrize("column", ["actor", "action", "target", "target_kind", "details", "time", "sha256"])
async def test_verify_altered_by_sql_is_found(ten: SqlRunStore, column: str) -> None:
    _change(ten, sa.update(audit_log).where(audit_log.c.sequence == 4).values(**{column: "0" * 32}))
    found = await AuditLog(ten.audit_log).verify()
    assert (found.intact, found.broken_at) == (False, 4)
    assert "altered" in found.reason


async def test_verify_deleted_by_sql_is_found(ten: SqlRunStore) -> None:
    _change(ten, sa.delete(audit_log).where(audit_log.c.sequence.in_([4, 5])))
    assert (await AuditLog(ten.audit_log).verify()).reason == (
        "entries 4 to 5 are missing: entry 6 follows on entry 3"
    )


async def test_verify_deleted_and_numbered_anew_is_found(ten: SqlRunStore) -> None:
    _change(
        ten,
        sa.delete(audit_log).where(audit_log.c.sequence == 9),
        sa.update(audit_log).where(audit_log.c.sequence == 10).values(sequence=9),
    )
    assert (await AuditLog(ten.audit_log).verify()).broken_at == 9


async def test_verify_reordered_by_sql_is_found(ten: SqlRunStore) -> None:
    table = audit_log
    _change(
        ten,
        sa.update(table).where(table.c.sequence == 4).values(sequence=99),
        sa.update(table).where(table.c.sequence == 5).values(sequence=4),
        sa.update(table).where(table.c.sequence == 99).values(sequence=5),
    )
    found = await AuditLog(ten.audit_log).verify()
    assert (found.intact, found.broken_at) == (False, 4)


async def test_verify_inserted_behind_the_head_is_found(ten: SqlRunStore) -> None:
    last = _entries(ten)[-1]
    forged = {**last, "sequence": 11, "actor": "key:ann", "previous_sha256": last["sha256"]}
    forged["sha256"] = entry_sha256(forged)
    _change(ten, sa.insert(audit_log).values(**forged))
    found = await AuditLog(ten.audit_log).verify()
    assert (found.broken_at, found.reason) == (
        11,
        "entry 11 was added behind the head of the log, which is entry 10",
    )


async def test_verify_cut_without_the_head_is_found(ten: SqlRunStore) -> None:
    _change(ten, sa.delete(audit_log).where(audit_log.c.sequence > 7))
    assert (await AuditLog(ten.audit_log).verify()).reason == (
        "the log ends with entry 7: entries up to 10 are missing"
    )


async def test_verify_cut_with_the_head_is_found_by_a_known_entry_alone(ten: SqlRunStore) -> None:
    entries = _entries(ten)
    known = Anchor(9, str(entries[8]["sha256"]))
    _change(
        ten,
        sa.delete(audit_log).where(audit_log.c.sequence > 7),
        sa.update(audit_head).values(sequence=7, sha256=entries[6]["sha256"]),
    )
    log = AuditLog(ten.audit_log)
    assert (await log.verify()).intact
    found = await log.verify(known.sequence, known.sha256)
    assert (found.intact, found.broken_at) == (False, 8)
    # Also when others have appended since, so that there is an entry 9 again.
    for _ in range(5):
        ten.audit_log.append("run.create", "run", "r-new")
    assert (await log.verify()).intact
    assert (await log.verify(known.sequence, known.sha256)).broken_at == 9


@pytest.mark.parametrize(("sequence", "sha256"), [(1, ""), (0, "0" * 64), (-1, "0" * 64), (3, "Z" * 64)])
async def test_verify_half_a_known_entry_is_refused(ten: SqlRunStore, sequence: int, sha256: str) -> None:
    with pytest.raises(InvalidInputError, match="a known entry"):
        await AuditLog(ten.audit_log).verify(sequence, sha256)


async def test_entries_pages_follow_each_other(ten: SqlRunStore) -> None:
    log = AuditLog(ten.audit_log)

    async def numbers(after: int, limit: int) -> list[int]:
        return [entry.sequence async for part in log.entries(after, limit) for entry in part]

    assert await numbers(0, 0) == list(range(1, 11))
    assert await numbers(3, 4) == [4, 5, 6, 7]
    assert await numbers(10, 0) == []
    with pytest.raises(InvalidInputError):
        await numbers(2**63, 0)


def test_append_from_many_threads_keeps_one_chain(store: SqlRunStore) -> None:
    def work(number: int) -> None:
        with acting_as(Principal(f"key:{number}", frozenset())):
            for place in range(10):
                store.audit_log.append("run.create", "run", f"{number}-{place}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    entries = _entries(store)
    assert len({entry["target"] for entry in entries}) == 80
    assert all(str(entry["target"]).startswith(str(entry["actor"])[4:]) for entry in entries)
    assert AuditLog(store.audit_log)._verify([]).intact


def test_append_from_two_processes_keeps_one_chain(tmp_path: Path) -> None:
    store, url = migrated_store(tmp_path)
    code = (
        "import sys; from services.orchestrator.store import SqlRunStore\n"
        "store = SqlRunStore(sys.argv[1])\n"
        "for n in range(40): store.audit_log.append('run.create', 'run', f'{sys.argv[2]}-{n}')\n"
        "store.close()\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, url, name]) for name in "ab"]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    found = AuditLog(store.audit_log)._verify([])
    assert (found.intact, found.entries) == (True, 80)
    store.close()


def test_append_rolls_back_with_its_transaction(store: SqlRunStore) -> None:
    with pytest.raises(ZeroDivisionError), store._engine.begin() as connection:
        append_audit(connection, "run.create", "run", "r-1")
        raise ZeroDivisionError
    assert store.audit_log.head() == (0, "0" * 64)


def test_state_changes_leave_entries_and_repeats_leave_none(store: SqlRunStore) -> None:
    with acting_as(ANN):
        store.create_run("r-1", "demo", {"name": "demo"}, "key")
        store.request_cancel("r-1")
        store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled")
        store.request_cancel("r-1")
        record = AssetRecord("ab" * 32, AssetKind.RULER, "mine", 3, store.get_run("r-1").create_time)
        for _ in range(2):
            store.assets.add_asset(record, "ruler.freeze", {"run_id": "r-1"})
    told = [(entry["actor"], entry["action"], entry["target"]) for entry in _entries(store)]
    assert told == [
        ("key:ann", "run.create", "r-1"),
        ("key:ann", "run.cancel", "r-1"),
        ("key:ann", "run.cancelled", "r-1"),
        ("key:ann", "ruler.freeze", "ab" * 32),
    ]
    assert json.loads(str(_entries(store)[-1]["details"])) == {
        "kind": "ruler",
        "name": "mine",
        "size_bytes": 3,
        "run_id": "r-1",
    }
