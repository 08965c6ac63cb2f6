"""``SqlMonitors``: what people do with monitors, on SQLAlchemy Core."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import PreconditionError
from services.orchestrator.identity import current_principal
from services.orchestrator.listing import Page
from services.orchestrator.monitor.live.records import Sample
from services.orchestrator.monitor.records import (
    Alarm,
    AlarmState,
    Kind,
    Measurement,
    MeasurementState,
    Monitor,
)
from services.orchestrator.store import tokens
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.monitor_rows import (
    alarm_of,
    lock_monitor,
    measurement_of,
    missing,
    monitor_of,
    open_measurement,
    read_alarm,
    read_measurement,
    read_monitor,
)
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.tables_monitors import (
    alarms,
    draws,
    live_states,
    measurements,
    monitors,
    samples,
)
from services.orchestrator.store.transactions import Transactions

MAX_MONITORS = 100
"""Each is looked at every second by the leader."""


class SqlMonitors:
    """Every method is one short transaction, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def add(self, monitor: Monitor) -> Monitor:
        """Insert, and tell the audit log. PreconditionError if there are as many as there may be."""
        row = {**asdict(monitor), "document": dict(monitor.document)}
        with self._transactions.begin() as connection:
            connection.execute(sa.insert(monitors).values(**row))
            count = connection.execute(sa.select(sa.func.count()).select_from(monitors)).scalar_one()
            if count > MAX_MONITORS:
                raise PreconditionError(
                    f"there are {MAX_MONITORS} monitors already, which is the most; delete one first"
                )
            details = {"name": monitor.name, "route": monitor.route, "endpoint": monitor.endpoint}
            append_audit(connection, "monitor.create", "monitor", monitor.monitor_id, details)
        return monitor

    def get(self, monitor_id: str) -> Monitor:
        """NotFoundError if there is none."""
        with self._transactions.connect() as connection:
            return read_monitor(connection, monitor_id)

    def page(self, page: Page) -> tuple[list[Monitor], str]:
        """Newest first, and the next page's token ("" on the last)."""
        by = (monitors.c.create_time, monitors.c.monitor_id)
        with self._transactions.connect() as connection:
            return read_page(connection, sa.select(monitors), by, page, {}, monitor_of)

    def set_paused(self, monitor_id: str, paused: bool, next_time: datetime) -> Monitor:
        """Pause it, or go on at ``next_time``; the same again changes nothing."""
        with self._transactions.begin() as connection:
            found = lock_monitor(connection, monitor_id)
            if found.paused == paused:
                return found
            this = monitors.c.monitor_id == monitor_id
            values = {"paused": paused, "next_time": next_time, "update_time": datetime.now(UTC)}
            connection.execute(sa.update(monitors).where(this).values(**values))
            append_audit(
                connection, "monitor.pause" if paused else "monitor.resume", "monitor", monitor_id, {}
            )
            return read_monitor(connection, monitor_id)

    def delete(self, monitor_id: str) -> None:
        """With its measurements, alarms and exchanges. NotFoundError if there is none."""
        with self._transactions.begin() as connection:
            for table in (samples, live_states, draws, alarms, measurements):
                connection.execute(sa.delete(table).where(table.c.monitor_id == monitor_id))
            gone = connection.execute(sa.delete(monitors).where(monitors.c.monitor_id == monitor_id))
            if gone.rowcount == 0:
                raise missing(monitor_id)
            append_audit(connection, "monitor.delete", "monitor", monitor_id, {})

    def enqueue(
        self, monitor_id: str, kind: Kind, fire_time: datetime, next_time: datetime | None = None
    ) -> Measurement:
        """A measurement that waits, or the one that is open already; ``next_time`` is the schedule's next."""
        with self._transactions.begin() as connection:
            found = lock_monitor(connection, monitor_id)
            this = monitors.c.monitor_id == monitor_id
            if next_time is not None:
                connection.execute(sa.update(monitors).where(this).values(next_time=next_time))
            if (waiting := open_measurement(connection, monitor_id)) is not None:
                return waiting
            number = found.last_number + 1
            connection.execute(sa.update(monitors).where(this).values(last_number=number))
            row: dict[str, Any] = {
                "monitor_id": monitor_id,
                "number": number,
                "kind": kind.value,
                "state": MeasurementState.QUEUED.value,
                "fire_time": fire_time,
                "create_time": datetime.now(UTC),
                "route_version": 0,
                "baseline_number": 0,
                "outcome": "",
                "message": "",
                "result": {},
            }
            connection.execute(sa.insert(measurements).values(**row))
            if kind is Kind.ASKED:
                append_audit(connection, "monitor.measure", "monitor", monitor_id, {"number": number})
            return read_measurement(connection, monitor_id, number)

    def measurements(self, monitor_id: str, size: int, token: str) -> tuple[list[Measurement], str]:
        """Newest first, and the next page's token. NotFoundError for no such monitor."""
        return self._of(monitor_id, measurements, size, token, measurement_of)

    def measurement(self, monitor_id: str, number: int) -> Measurement:
        """NotFoundError if there is none."""
        with self._transactions.connect() as connection:
            return read_measurement(connection, monitor_id, number)

    def alarms(self, monitor_id: str, size: int, token: str) -> tuple[list[Alarm], str]:
        """Newest first, and the next page's token. NotFoundError for no such monitor."""
        return self._of(monitor_id, alarms, size, token, alarm_of)

    def samples(self, monitor_id: str, size: int, token: str) -> tuple[list[Sample], str]:
        """Exchanges, newest first, and the next page's token. Each page read leaves an audit entry."""
        found = self._of(monitor_id, samples, size, token, lambda row: Sample(**row._mapping))
        with self._transactions.begin() as connection:
            details = {"samples": len(found[0])}
            append_audit(connection, "monitor.read_samples", "monitor", monitor_id, details)
        return found

    def acknowledge(self, monitor_id: str, number: int, comment: str) -> Alarm:
        """Somebody has seen it. PreconditionError if it was acknowledged or cleared before."""
        with self._transactions.begin() as connection:
            lock_monitor(connection, monitor_id)
            found = read_alarm(connection, monitor_id, number)
            if found.state is not AlarmState.RAISED:
                raise PreconditionError(
                    f"alarm {number} of monitor {monitor_id} is {found.state.value} already"
                )
            this = sa.and_(alarms.c.monitor_id == monitor_id, alarms.c.number == number)
            values = {
                "state": AlarmState.ACKNOWLEDGED.value,
                "acknowledge_time": datetime.now(UTC),
                "acknowledge_by": current_principal().name,
                "comment": comment,
            }
            connection.execute(sa.update(alarms).where(this).values(**values))
            details = {"alarm": number}
            append_audit(connection, "monitor.acknowledge", "monitor", monitor_id, details)
            return read_alarm(connection, monitor_id, number)

    def _of(
        self, monitor_id: str, table: sa.Table, size: int, token: str, read: Any
    ) -> tuple[list[Any], str]:
        query = sa.select(table).where(table.c.monitor_id == monitor_id).order_by(table.c.number.desc())
        with self._transactions.connect() as connection:
            read_monitor(connection, monitor_id)
            if token:
                _, last = tokens.decode(token)
                if not last.isdecimal():
                    raise PreconditionError("this page token is of another list")
                query = query.where(table.c.number < int(last))
            rows = connection.execute(query.limit(size + 1)).all()
        kept = [read(row) for row in rows[:size]]
        more = len(rows) > size
        return kept, tokens.encode(datetime.now(UTC), str(kept[-1].number)) if more else ""
