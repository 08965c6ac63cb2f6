"""``SqlLive``: redacted exchanges of people, and the windows that they are compared by."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from services.orchestrator.event_types import MonitorDrift, short
from services.orchestrator.monitor.live.records import LiveFound, LiveOutcome, LiveState, Sample, Window
from services.orchestrator.monitor.records import AlarmKind, Measurement, Monitor
from services.orchestrator.store.engine import upsert
from services.orchestrator.store.monitor_alarms import (
    change_monitor,
    clear_alarms,
    named,
    raise_alarm,
    tell,
)
from services.orchestrator.store.monitor_rows import lock_monitor
from services.orchestrator.store.tables_monitors import live_states, monitors, samples
from services.orchestrator.store.transactions import Transactions

_ROW = "<f4"
_NEW = {
    "route_version": 0,
    "last_number": 0,
    "judged": 0,
    "encoder": "",
    "dimension": 0,
    "answers": b"",
    "requests": b"",
    "moved": 0,
    "normal": 0,
}


class SqlLive:
    """Over transactions that end with the leader's epoch. Every method is one of them, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def put(self, monitor_id: str, kept: Sequence[Sample], keep: int) -> None:
        """Keep exchanges, numbered anew, and no more than ``keep``. NotFoundError if the monitor is gone."""
        with self._transactions.begin() as connection:
            monitor = lock_monitor(connection, monitor_id)
            row = _row(connection, monitor_id)
            last = int(row["last_number"])
            rows = [asdict(replace(one, number=last + place)) for place, one in enumerate(kept, start=1)]
            connection.execute(sa.insert(samples), rows)
            upsert(connection, live_states, {**row, "last_number": last + len(rows)})
            old = sa.and_(samples.c.monitor_id == monitor_id, samples.c.number <= last + len(rows) - keep)
            connection.execute(sa.delete(samples).where(old))
            newest = max(one.end_time for one in kept)
            _count(connection, monitor, live_last_time=newest, live_error="")

    def trouble(self, monitor_id: str, message: str) -> None:
        """Why no exchanges come; an empty message if they may again."""
        this = sa.and_(monitors.c.monitor_id == monitor_id, monitors.c.live_error != message)
        with self._transactions.begin() as connection:
            connection.execute(sa.update(monitors).where(this).values(live_error=message))

    def forget(self, monitor_id: str, keep: timedelta, now: datetime | None = None) -> int:
        """Remove what is older; how many were. NotFoundError if the monitor is gone."""
        before = (now or datetime.now(UTC)) - keep
        old = sa.and_(samples.c.monitor_id == monitor_id, samples.c.end_time < before)
        with self._transactions.begin() as connection:
            monitor = lock_monitor(connection, monitor_id)
            gone = int(connection.execute(sa.delete(samples).where(old)).rowcount)
            if gone:
                _count(connection, monitor)
            return gone

    def state(self, monitor_id: str) -> LiveState:
        """How far the comparison is; of version 0 if there was none yet."""
        with self._transactions.connect() as connection:
            row = _row(connection, monitor_id)
        window = None
        if row["answers"]:
            shape = (-1, int(row["dimension"]))
            window = Window(str(row["encoder"]), _rows(row["answers"], shape), _rows(row["requests"], shape))
        return LiveState(int(row["route_version"]), int(row["judged"]), window)

    def newest(self, monitor_id: str, version: int, after: int, count: int) -> list[Sample]:
        """The newest exchanges under a version of the route that come after a number; oldest first."""
        where = sa.and_(
            samples.c.monitor_id == monitor_id,
            samples.c.route_version == version,
            samples.c.number > after,
        )
        query = sa.select(samples).where(where).order_by(samples.c.number.desc()).limit(count)
        with self._transactions.connect() as connection:
            return [Sample(**row._mapping) for row in reversed(connection.execute(query).all())]


def keep_live(connection: sa.Connection, monitor: Monitor, measurement: Measurement, live: LiveFound) -> None:
    """What a look gave, with the alarm that it raises or clears."""
    row = _row(connection, monitor.monitor_id)
    if live.judged is None:
        if monitor.live_drifting and row["route_version"] != live.route_version:
            # What was decided meanwhile is no drift.
            _clear(connection, monitor, "the route has changed")
        return
    values: dict[str, Any] = {"route_version": live.route_version, "judged": live.judged}
    if live.window is not None:
        values |= {
            "encoder": live.window.encoder,
            "dimension": live.window.answers.shape[1],
            "answers": _bytes(live.window.answers),
            "requests": _bytes(live.window.requests),
            "moved": 0,
            "normal": 0,
        }
    else:
        is_moved = live.outcome is LiveOutcome.MOVED
        values |= {
            "moved": row["moved"] + 1 if is_moved else 0,
            "normal": 0 if is_moved else row["normal"] + 1,
        }
    upsert(connection, live_states, {**row, **values})
    document = monitor.document
    if not monitor.live_drifting and values["moved"] >= document["live"]["raise_after"]:
        _raise(connection, monitor, measurement, live)
    elif monitor.live_drifting and (
        live.window is not None or values["normal"] >= document["alarms"]["clear_after"]
    ):
        _clear(connection, monitor, live.message)


def _raise(connection: sa.Connection, monitor: Monitor, measurement: Measurement, live: LiveFound) -> None:
    change_monitor(connection, monitor, live_drifting=True)
    number = raise_alarm(connection, monitor, measurement, AlarmKind.LIVE, live.message, live.moved)
    told = MonitorDrift(
        **named(monitor),
        alarm=number,
        measurement=measurement.number,
        kind=AlarmKind.LIVE.value,
        topics=live.moved,
        p_value=live.p_value,
        message=short(live.message),
    )
    tell(connection, monitor, "monitor.drift", told.model_dump(mode="json"))


def _clear(connection: sa.Connection, monitor: Monitor, message: str) -> None:
    change_monitor(connection, monitor, live_drifting=False)
    clear_alarms(connection, monitor, (AlarmKind.LIVE,), message)


def _row(connection: sa.Connection, monitor_id: str) -> dict[str, Any]:
    query = sa.select(live_states).where(live_states.c.monitor_id == monitor_id)
    row = connection.execute(query).first()
    return {"monitor_id": monitor_id, **_NEW} if row is None else dict(row._mapping)


def _count(connection: sa.Connection, monitor: Monitor, **columns: Any) -> None:
    mine = sa.select(sa.func.count()).where(samples.c.monitor_id == monitor.monitor_id)
    change_monitor(connection, monitor, live_kept=connection.execute(mine).scalar_one(), **columns)


def _bytes(rows: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(rows, dtype=_ROW).tobytes()


def _rows(raw: bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.frombuffer(raw, dtype=_ROW).reshape(shape).astype(np.float32)
