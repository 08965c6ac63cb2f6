"""Alarms of monitors, for whoever has a transaction open: raised, cleared, told to outbox and audit log."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.orchestrator.event_types import MonitorRecovered, short
from services.orchestrator.monitor.records import AlarmKind, AlarmState, Measurement, Monitor
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.monitor_rows import alarm_of
from services.orchestrator.store.outbox import announce
from services.orchestrator.store.tables_monitors import alarms, monitors

DRIFTS = (AlarmKind.DRIFT, AlarmKind.IDENTITY)
"""What may open a run. People's exchanges may not: who asks could have runs begun."""


def change_monitor(connection: sa.Connection, monitor: Monitor, **columns: Any) -> None:
    """Set columns of its row."""
    this = monitors.c.monitor_id == monitor.monitor_id
    connection.execute(sa.update(monitors).where(this).values(**columns))


def raise_alarm(
    connection: sa.Connection,
    monitor: Monitor,
    measurement: Measurement,
    kind: AlarmKind,
    message: str,
    topics: Iterable[str],
) -> int:
    """A new alarm; its number."""
    # The monitor's row is locked, so that the number is free.
    this = monitors.c.monitor_id == monitor.monitor_id
    number = int(connection.execute(sa.select(monitors.c.last_alarm).where(this)).scalar_one()) + 1
    connection.execute(sa.update(monitors).where(this).values(last_alarm=number))
    row = {
        "monitor_id": monitor.monitor_id,
        "number": number,
        "kind": kind.value,
        "state": AlarmState.RAISED.value,
        "measurement_number": measurement.number,
        "message": message,
        "topics": list(topics),
        "raise_time": datetime.now(UTC),
        "acknowledge_by": "",
        "comment": "",
        "run_wanted": kind in DRIFTS and monitor.document["on_drift"] != "alarm",
        "run_id": "",
        "run_error": "",
    }
    connection.execute(sa.insert(alarms).values(**row))
    return number


def clear_alarms(
    connection: sa.Connection, monitor: Monitor, kinds: Iterable[AlarmKind], message: str
) -> None:
    """End the alarms of these kinds that are not cleared yet."""
    where = sa.and_(
        alarms.c.monitor_id == monitor.monitor_id,
        alarms.c.kind.in_([kind.value for kind in kinds]),
        alarms.c.state != AlarmState.CLEARED.value,
    )
    for alarm in [alarm_of(row) for row in connection.execute(sa.select(alarms).where(where))]:
        same = sa.and_(alarms.c.monitor_id == alarm.monitor_id, alarms.c.number == alarm.number)
        values = {"state": AlarmState.CLEARED.value, "clear_time": datetime.now(UTC)}
        connection.execute(sa.update(alarms).where(same).values(**values))
        told = MonitorRecovered(
            **named(monitor), alarm=alarm.number, kind=alarm.kind.value, message=short(message)
        )
        tell(connection, monitor, "monitor.recovered", told.model_dump(mode="json"))


def tell(connection: sa.Connection, monitor: Monitor, kind: str, data: dict[str, Any]) -> None:
    """An event of the monitor, to the outbox and the audit log."""
    announce(connection, kind, f"monitors/{monitor.monitor_id}", data)
    details = {"alarm": data["alarm"], "message": data["message"]}
    append_audit(connection, kind, "monitor", monitor.monitor_id, details)


def named(monitor: Monitor) -> dict[str, str]:
    """What every event of a monitor begins with."""
    return {
        "monitor_id": monitor.monitor_id,
        "name": monitor.name,
        "route": monitor.route,
        "endpoint": monitor.endpoint,
    }
