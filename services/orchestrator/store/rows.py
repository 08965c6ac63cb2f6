"""Rows of runs and their events, for whoever has a transaction open."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import NotFoundError, OverloadedError
from services.orchestrator.expecting import check_expected, is_expected
from services.orchestrator.ports import RunRecord, RunStatus
from services.orchestrator.store.tables import run_events, runs

ENDED = [status.value for status in RunStatus if status.ended]
RUN_COLUMNS = [column for column in runs.columns if column.name != "last_event"]


def read_run(connection: sa.Connection, run_id: str) -> RunRecord:
    """The run; NotFoundError if there is none."""
    row = connection.execute(sa.select(*RUN_COLUMNS).where(runs.c.run_id == run_id)).first()
    if row is None:
        raise NotFoundError(f"there is no run {run_id[:80]!r}")
    return run_of(row)


def expect_run(connection: sa.Connection, run_id: str) -> None:
    """PreconditionError if the caller expects the run to be other than it is; else its row is locked."""
    if is_expected("run", run_id):
        # A write that changes nothing locks the row until the commit.
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(stage=runs.c.stage))
        check_expected("run", run_id, read_run(connection, run_id).etag)


def run_of(row: sa.Row[Any]) -> RunRecord:
    """A row of ``RUN_COLUMNS`` as a record."""
    columns = dict(row._mapping)
    return RunRecord(**{**columns, "status": RunStatus(columns["status"])})


def append_event(
    connection: sa.Connection, run_id: str, kind: str, data: Mapping[str, Any], now: datetime
) -> int:
    """Append an event and return its number: the run's last one plus one, whoever else writes."""
    this = runs.c.run_id == run_id
    # The update locks the run's row until the commit: the next writer sees the new number.
    if connection.execute(sa.update(runs).where(this).values(last_event=runs.c.last_event + 1)).rowcount == 0:
        raise NotFoundError(f"there is no run {run_id[:80]!r}")
    number = int(connection.execute(sa.select(runs.c.last_event).where(this)).scalar_one())
    event = {"run_id": run_id, "number": number, "time": now, "kind": kind, "data": data}
    connection.execute(sa.insert(run_events).values(**event))
    return number


def event_of(connection: sa.Connection, run_id: str, kind: str, now: datetime) -> int | None:
    """The number of the event that an earlier attempt stored: the time of its call tells it apart."""
    table = run_events.c
    found = sa.select(table.number).where(table.run_id == run_id, table.time == now, table.kind == kind)
    number = connection.execute(found).scalar()
    return None if number is None else int(number)


def refuse_full_queue(connection: sa.Connection, max_queued: int) -> None:
    """OverloadedError if more runs wait than may; called once the run is among them, which that undoes."""
    if not max_queued:
        return
    queued = sa.select(sa.func.count()).where(runs.c.status == RunStatus.QUEUED.value)
    if connection.execute(queued).scalar_one() > max_queued:
        raise OverloadedError(
            f"{max_queued} runs wait already, which is the most (VALIGN_ORCHESTRATOR_MAX_QUEUED_RUNS);"
            " try again when some have begun, or cancel some",
            details={"retry_after_s": 60},
        )
