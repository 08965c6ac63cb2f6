"""Rows of monitors, measurements and alarms as records, for whoever has a transaction open."""

from typing import Any

import sqlalchemy as sa

from services.common.errors import NotFoundError
from services.orchestrator.monitor.records import (
    Alarm,
    AlarmKind,
    AlarmState,
    Kind,
    Measurement,
    MeasurementState,
    Monitor,
)
from services.orchestrator.store.tables_monitors import alarms, measurements, monitors

OPEN = (MeasurementState.QUEUED.value, MeasurementState.RUNNING.value)


def monitor_of(row: sa.Row[Any]) -> Monitor:
    """A row of ``monitors``."""
    return Monitor(**row._mapping)


def measurement_of(row: sa.Row[Any]) -> Measurement:
    """A row of ``measurements``."""
    columns = row._mapping
    return Measurement(
        **{**columns, "kind": Kind(columns["kind"]), "state": MeasurementState(columns["state"])}
    )


def alarm_of(row: sa.Row[Any]) -> Alarm:
    """A row of ``alarms``."""
    columns = row._mapping
    typed = {"kind": AlarmKind(columns["kind"]), "state": AlarmState(columns["state"])}
    return Alarm(**{**columns, **typed, "topics": tuple(columns["topics"])})


def read_monitor(connection: sa.Connection, monitor_id: str) -> Monitor:
    """NotFoundError if there is none."""
    row = connection.execute(sa.select(monitors).where(monitors.c.monitor_id == monitor_id)).first()
    if row is None:
        raise missing(monitor_id)
    return monitor_of(row)


def lock_monitor(connection: sa.Connection, monitor_id: str) -> Monitor:
    """The same, and nobody else changes it, or adds to it, until the commit."""
    this = monitors.c.monitor_id == monitor_id
    connection.execute(sa.update(monitors).where(this).values(last_number=monitors.c.last_number))
    return read_monitor(connection, monitor_id)


def read_measurement(connection: sa.Connection, monitor_id: str, number: int) -> Measurement:
    """NotFoundError if there is none."""
    where = sa.and_(measurements.c.monitor_id == monitor_id, measurements.c.number == number)
    row = connection.execute(sa.select(measurements).where(where)).first()
    if row is None:
        raise NotFoundError(f"monitor {monitor_id[:40]!r} has no measurement {number}")
    return measurement_of(row)


def read_alarm(connection: sa.Connection, monitor_id: str, number: int) -> Alarm:
    """NotFoundError if there is none."""
    where = sa.and_(alarms.c.monitor_id == monitor_id, alarms.c.number == number)
    row = connection.execute(sa.select(alarms).where(where)).first()
    if row is None:
        raise NotFoundError(f"monitor {monitor_id[:40]!r} has no alarm {number}")
    return alarm_of(row)


def open_measurement(connection: sa.Connection, monitor_id: str) -> Measurement | None:
    """The one that waits or runs; there is one at a time."""
    where = sa.and_(measurements.c.monitor_id == monitor_id, measurements.c.state.in_(OPEN))
    row = connection.execute(sa.select(measurements).where(where)).first()
    return None if row is None else measurement_of(row)


def missing(monitor_id: str) -> NotFoundError:
    """The error for an id that no monitor has."""
    return NotFoundError(
        f"there is no monitor {monitor_id[:40]!r}; `valign monitors list` shows which there are"
    )
