"""Monitors in a database of each kind: numbers, hysteresis, alarms, tidying, and a leader that is over."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.listing import Page
from services.orchestrator.monitor.records import (
    AlarmState,
    Draw,
    Found,
    Kind,
    MeasurementState,
    Monitor,
    MonitorState,
)
from services.orchestrator.records import LeadershipLost
from services.orchestrator.store import SqlRunStore

NOW = datetime(2026, 11, 26, 14, tzinfo=UTC)


def monitor(monitor_id: str = "mo-1", **limits: Any) -> Monitor:
    """A new monitor of the route valign."""
    document = {
        "target": {"route": "valign", "endpoint": None},
        "alarms": {"raise_after": 1, "clear_after": 2, "failures": 2, **limits},
        "on_drift": "alarm",
        "schedule": "0 * * * *",
        "time_zone": "UTC",
    }
    return Monitor(
        monitor_id=monitor_id,
        name="one",
        document=document,
        paused=False,
        create_time=NOW,
        create_by="local",
        update_time=NOW,
        next_time=NOW,
        last_number=0,
        last_alarm=0,
        baseline_number=0,
        baseline_version=0,
        prompts_number=0,
        drifted=0,
        normal=0,
        failures=0,
        last_success_time=None,
        last_error="",
        drifting=False,
        failing=False,
    )


def _period(store: SqlRunStore, found: Found | str) -> None:
    """One measurement's whole way; a text is a failure."""
    measuring = store.platform.measuring
    queued = store.platform.monitors.enqueue("mo-1", Kind.SCHEDULED, NOW)
    begun = measuring.begin(queued, Kind.SCHEDULED, 0, 1)
    if isinstance(found, Found):
        measuring.succeed(begun, found, "a test", {"moved": ["privacy"]}, 1)
    else:
        measuring.fail(begun, found)


def _kinds(store: SqlRunStore) -> list[str]:
    return [one.type for one in store.platform.outbox.after(0) if one.type.startswith("monitor.")]


def test_there_is_one_open_measurement_at_a_time(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor())
    first = store.platform.monitors.enqueue("mo-1", Kind.ASKED, NOW)
    assert store.platform.monitors.enqueue("mo-1", Kind.SCHEDULED, NOW).number == first.number == 1
    assert store.platform.measuring.open() == {"mo-1": first}
    store.platform.measuring.fail(first, "away")
    assert store.platform.monitors.enqueue("mo-1", Kind.ASKED, NOW).number == 2


def test_drift_is_raised_after_as_many_periods_and_cleared_after_as_many(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor(raise_after=2))
    states = []
    for found in (Found.BASELINE, Found.DRIFT, Found.NORMAL, Found.DRIFT, Found.DRIFT, Found.NORMAL):
        _period(store, found)
        states.append(store.platform.monitors.get("mo-1").state)
    normal, drift = MonitorState.NORMAL, MonitorState.DRIFT
    assert states == [normal, normal, normal, normal, drift, drift]
    _period(store, Found.DRIFT)
    _period(store, Found.UNCONFIRMED)
    assert store.platform.monitors.get("mo-1").state is drift, "one in between begins the count anew"
    _period(store, Found.NORMAL)
    assert store.platform.monitors.get("mo-1").state is normal
    alarms, _ = store.platform.monitors.alarms("mo-1", 10, "")
    assert [one.state for one in alarms] == [AlarmState.CLEARED]
    assert _kinds(store) == ["monitor.drift", "monitor.recovered"]


def test_identity_is_raised_at_once(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor(raise_after=5))
    _period(store, Found.BASELINE)
    _period(store, Found.IDENTITY)
    assert store.platform.monitors.get("mo-1").state is MonitorState.DRIFT


def test_failures_in_a_row_raise_once_and_a_success_clears(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor())
    for found in ("away", "away", "away", Found.BASELINE, "away"):
        _period(store, found)
    assert _kinds(store) == ["monitor.failed", "monitor.recovered"]
    assert store.platform.monitors.get("mo-1").failures == 1


def test_alarm_is_acknowledged_once(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor())
    _period(store, Found.IDENTITY)
    assert store.platform.monitors.acknowledge("mo-1", 1, "seen").acknowledge_by == "valign"
    with pytest.raises(PreconditionError, match="acknowledged already"):
        store.platform.monitors.acknowledge("mo-1", 1, "again")


def test_answers_of_old_measurements_are_forgotten_but_for_the_baseline(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor())
    for found in (Found.BASELINE, *[Found.NORMAL] * 4):
        _period(store, found)
        last = store.platform.monitors.measurements("mo-1", 1, "")[0][0]
        draw = Draw("sample", "privacy", 0, 0, "Be kind.", "ok", "", "")
        store.platform.measuring.put(last, draw)
        store.platform.measuring.put(last, draw)
    assert store.platform.measuring.tidy(2) == 2
    kept = [number for number in range(1, 6) if store.platform.measuring.draws("mo-1", number)]
    assert kept == [1, 4, 5]


def test_pages_end_and_deleting_takes_all(store: SqlRunStore) -> None:
    for number in range(3):
        store.platform.monitors.add(monitor(f"mo-{number}"))
    found, token = store.platform.monitors.page(Page(2))
    rest, end = store.platform.monitors.page(Page(2, token))
    assert ([one.monitor_id for one in (*found, *rest)], end) == (["mo-2", "mo-1", "mo-0"], "")
    _period(store, Found.IDENTITY)
    store.platform.monitors.delete("mo-1")
    assert not store.platform.measuring.latest()
    assert len(store.platform.measuring.all()) == 2


def test_leader_that_is_over_writes_nothing(store: SqlRunStore) -> None:
    store.platform.monitors.add(monitor())
    epoch = store.leases.acquire("me", None)
    assert epoch is not None
    bound = store.bound(epoch).platform
    queued = bound.monitors.enqueue("mo-1", Kind.SCHEDULED, NOW)
    assert store.leases.acquire("you", store.leases.read()) == epoch + 1
    with pytest.raises(LeadershipLost):
        bound.measuring.fail(queued, "away")
    assert store.platform.monitors.measurement("mo-1", 1).state is MeasurementState.QUEUED
