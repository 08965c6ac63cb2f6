"""``SqlMeasuring``: what the leader does with monitors: answers stored one by one, outcomes, alarms."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.orchestrator.event_types import MonitorDrift, MonitorFailed, short
from services.orchestrator.monitor.live.records import LiveFound
from services.orchestrator.monitor.records import (
    DRIFTED,
    Alarm,
    AlarmKind,
    Draw,
    Found,
    Kind,
    Measurement,
    MeasurementState,
    Monitor,
)
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.live import keep_live
from services.orchestrator.store.monitor_alarms import (
    DRIFTS,
    change_monitor,
    clear_alarms,
    named,
    raise_alarm,
    tell,
)
from services.orchestrator.store.monitor_rows import (
    OPEN,
    alarm_of,
    lock_monitor,
    measurement_of,
    monitor_of,
    read_measurement,
)
from services.orchestrator.store.tables_monitors import alarms, draws, measurements, monitors
from services.orchestrator.store.transactions import Transactions


class SqlMeasuring:
    """Over transactions that end with the leader's epoch. Every method is one of them, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def all(self) -> list[Monitor]:
        """Every monitor, oldest first."""
        with self._transactions.connect() as connection:
            query = sa.select(monitors).order_by(monitors.c.create_time, monitors.c.monitor_id)
            return [monitor_of(row) for row in connection.execute(query)]

    def open(self) -> dict[str, Measurement]:
        """The open measurement of each monitor that has one."""
        query = sa.select(measurements).where(measurements.c.state.in_(OPEN))
        with self._transactions.connect() as connection:
            found = [measurement_of(row) for row in connection.execute(query)]
        return {one.monitor_id: one for one in found}

    def latest(self) -> dict[str, Measurement]:
        """Each monitor's last measurement that succeeded."""
        done = measurements.c.state == MeasurementState.SUCCEEDED.value
        last = (
            sa.select(measurements.c.monitor_id, sa.func.max(measurements.c.number).label("number"))
            .where(done)
            .group_by(measurements.c.monitor_id)
            .subquery()
        )
        same = sa.and_(measurements.c.monitor_id == last.c.monitor_id, measurements.c.number == last.c.number)
        with self._transactions.connect() as connection:
            rows = connection.execute(sa.select(measurements).join(last, same))
            return {one.monitor_id: one for one in map(measurement_of, rows)}

    def begin(self, measurement: Measurement, kind: Kind, version: int, baseline: int) -> Measurement:
        """It runs, of this version of the route and against this baseline; that is set once."""
        with self._transactions.begin() as connection:
            values = {
                "state": MeasurementState.RUNNING.value,
                "kind": kind.value,
                "route_version": version,
                "baseline_number": baseline,
            }
            connection.execute(sa.update(measurements).where(_this(measurement)).values(**values))
            row = connection.execute(sa.select(measurements).where(_this(measurement))).one()
            return measurement_of(row)

    def put(self, measurement: Measurement, draw: Draw) -> None:
        """Keep one answer; one that is there stays."""
        row = {"monitor_id": measurement.monitor_id, "number": measurement.number, **asdict(draw)}
        with self._transactions.begin() as connection:
            insert_or_ignore(connection, draws, [row])

    def draws(self, monitor_id: str, number: int) -> list[Draw]:
        """The answers of a measurement."""
        where = sa.and_(draws.c.monitor_id == monitor_id, draws.c.number == number)
        with self._transactions.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(sa.select(draws).where(where))]
        return [
            Draw(**{name: value for name, value in row.items() if name not in ("monitor_id", "number")})
            for row in rows
        ]

    def fingerprint(self, monitor_id: str, number: int) -> str:
        """Of the base model that a measurement asked; empty if it is not known."""
        with self._transactions.connect() as connection:
            return str(read_measurement(connection, monitor_id, number).result.get("fingerprint", ""))

    def tidy(self, keep: int) -> int:
        """Forget the answers of old measurements, but for baselines in use; how many were forgotten."""
        # One statement: a transaction that reads first cannot write in SQLite once somebody else has written.
        theirs = sa.and_(
            monitors.c.monitor_id == draws.c.monitor_id,
            draws.c.number <= monitors.c.last_number - keep,
            draws.c.number != monitors.c.baseline_number,
            draws.c.number != monitors.c.prompts_number,
        )
        old = sa.exists(sa.select(sa.literal(1)).select_from(monitors).where(theirs))
        with self._transactions.begin() as connection:
            return int(connection.execute(sa.delete(draws).where(old)).rowcount)

    def fail(self, measurement: Measurement, message: str) -> None:
        """It could not be measured; so many in a row raise an alarm."""
        with self._transactions.begin() as connection:
            monitor = lock_monitor(connection, measurement.monitor_id)
            _end(connection, measurement, MeasurementState.FAILED, "", message, {})
            failures = monitor.failures + 1
            raised = failures >= monitor.document["alarms"]["failures"] and not monitor.failing
            changes = {"failures": failures, "last_error": message}
            change_monitor(connection, monitor, failing=monitor.failing or raised, **changes)
            if raised:
                number = raise_alarm(connection, monitor, measurement, AlarmKind.FAILED, message, ())
                told = MonitorFailed(
                    **named(monitor), alarm=number, failures=failures, message=short(message)
                )
                tell(connection, monitor, "monitor.failed", told.model_dump(mode="json"))

    def succeed(
        self,
        measurement: Measurement,
        found: Found,
        message: str,
        result: Mapping[str, Any],
        prompts: int = 0,
        live: LiveFound | None = None,
    ) -> None:
        """Its outcome, with the alarms that it raises or clears. ``prompts``, for a baseline, is the
        measurement whose prompts are used from now on; ``live`` what the look at people's exchanges gave."""
        with self._transactions.begin() as connection:
            monitor = lock_monitor(connection, measurement.monitor_id)
            _end(connection, measurement, MeasurementState.SUCCEEDED, found.value, message, result)
            changes: dict[str, Any] = {
                "failures": 0,
                "last_error": "",
                "last_success_time": datetime.now(UTC),
            }
            # As it began: whoever measured may hold it as it was queued.
            begun = read_measurement(connection, measurement.monitor_id, measurement.number)
            limits = monitor.document["alarms"]
            drifted = monitor.drifted + 1 if found in DRIFTED else 0
            normal = 0 if found in DRIFTED else monitor.normal + 1
            if found is Found.BASELINE:
                drifted = normal = 0
                changes |= {
                    "baseline_number": measurement.number,
                    "baseline_version": begun.route_version,
                    "prompts_number": prompts,
                }
            raised = not monitor.drifting and (
                found is Found.IDENTITY or (found is Found.DRIFT and drifted >= limits["raise_after"])
            )
            cleared = monitor.drifting and (found is Found.BASELINE or normal >= limits["clear_after"])
            changes |= {"drifted": drifted, "normal": normal, "failing": False}
            change_monitor(
                connection, monitor, drifting=(monitor.drifting or raised) and not cleared, **changes
            )
            if monitor.failing:
                clear_alarms(connection, monitor, (AlarmKind.FAILED,), "measurements succeed again")
            if cleared:
                clear_alarms(connection, monitor, DRIFTS, message)
            if raised:
                _raise_drift(connection, monitor, measurement, found, message, result)
            if live is not None:
                keep_live(connection, monitor, measurement, live)

    def wanted_runs(self) -> list[Alarm]:
        """Alarms whose run is still to be opened."""
        with self._transactions.connect() as connection:
            query = sa.select(alarms).where(alarms.c.run_wanted.is_(True))
            return [alarm_of(row) for row in connection.execute(query)]

    def opened(self, alarm: Alarm, run_id: str, error: str = "") -> None:
        """Its run was opened, or will not be."""
        this = sa.and_(alarms.c.monitor_id == alarm.monitor_id, alarms.c.number == alarm.number)
        with self._transactions.begin() as connection:
            values = {"run_wanted": False, "run_id": run_id, "run_error": error}
            connection.execute(sa.update(alarms).where(this).values(**values))


def _this(measurement: Measurement) -> sa.ColumnElement[bool]:
    same = measurements.c.monitor_id == measurement.monitor_id
    return sa.and_(same, measurements.c.number == measurement.number)


def _end(
    connection: sa.Connection,
    measurement: Measurement,
    state: MeasurementState,
    outcome: str,
    message: str,
    result: Mapping[str, Any],
) -> None:
    ended = {"state": state.value, "end_time": datetime.now(UTC), "outcome": outcome, "message": message}
    update = sa.update(measurements).where(_this(measurement))
    connection.execute(update.values(**ended, result=dict(result)))


def _raise_drift(
    connection: sa.Connection,
    monitor: Monitor,
    measurement: Measurement,
    found: Found,
    message: str,
    result: Mapping[str, Any],
) -> None:
    kind = AlarmKind.IDENTITY if found is Found.IDENTITY else AlarmKind.DRIFT
    topics = tuple(result.get("moved", ()))
    number = raise_alarm(connection, monitor, measurement, kind, message, topics)
    told = MonitorDrift(
        **named(monitor),
        alarm=number,
        measurement=measurement.number,
        kind=kind.value,
        topics=topics,
        p_value=float(result.get("p_value", 1.0)),
        message=short(message),
    )
    tell(connection, monitor, "monitor.drift", told.model_dump(mode="json"))
