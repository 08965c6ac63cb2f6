"""What monitors, their measurements and their alarms are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class MonitorState(StrEnum):
    """How a monitor stands."""

    STARTING = "starting"
    NORMAL = "normal"
    DRIFT = "drift"
    FAILING = "failing"
    PAUSED = "paused"


class MeasurementState(StrEnum):
    """How far a measurement is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class AlarmState(StrEnum):
    """What became of an alarm."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class Kind(StrEnum):
    """Why something was measured."""

    BASELINE = "baseline"
    SCHEDULED = "scheduled"
    ASKED = "asked"


class AlarmKind(StrEnum):
    """What an alarm is about."""

    DRIFT = "drift"
    IDENTITY = "identity"
    FAILED = "failed"
    LIVE = "live"


class Found(StrEnum):
    """Outcome of a measurement: ``unconfirmed`` if only the first sample showed drift, ``small`` below the
    minimum effect, ``identity`` for an adapter that nobody put on the route."""

    BASELINE = "baseline"
    NORMAL = "normal"
    UNCONFIRMED = "unconfirmed"
    SMALL = "small"
    DRIFT = "drift"
    IDENTITY = "identity"


DRIFTED = frozenset({Found.DRIFT, Found.IDENTITY})


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor. ``document`` is frozen; ``baseline_version`` the route's version that the baseline is of.

    ``live_``: exchanges of people that are kept, the last of them, and why none come (empty if they may).
    """

    monitor_id: str
    name: str
    document: Mapping[str, Any]
    paused: bool
    create_time: datetime
    create_by: str
    update_time: datetime
    next_time: datetime
    last_number: int
    last_alarm: int
    baseline_number: int
    baseline_version: int
    prompts_number: int
    drifted: int
    normal: int
    failures: int
    last_success_time: datetime | None
    last_error: str
    drifting: bool
    failing: bool
    live_drifting: bool = False
    live_kept: int = 0
    live_last_time: datetime | None = None
    live_error: str = ""

    @property
    def state(self) -> MonitorState:
        """Paused before all, then drift, then failures."""
        if self.paused:
            return MonitorState.PAUSED
        if self.drifting or self.live_drifting:
            return MonitorState.DRIFT
        if self.failing:
            return MonitorState.FAILING
        return MonitorState.NORMAL if self.baseline_number else MonitorState.STARTING

    @property
    def route(self) -> str:
        """The public name; empty for an endpoint."""
        return str(self.document["target"]["route"] or "")

    @property
    def endpoint(self) -> str:
        """URL and model; empty for a route."""
        found = self.document["target"]["endpoint"]
        return f"{found['url']} {found['model']}" if found else ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One period's, or a baseline. ``result`` is JSON-able: see ``monitor.judging``."""

    monitor_id: str
    number: int
    kind: Kind
    state: MeasurementState
    fire_time: datetime
    create_time: datetime
    end_time: datetime | None
    route_version: int
    baseline_number: int
    outcome: str
    message: str
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Raised, acknowledged, cleared; ``run_wanted`` until its run is opened, or could not be."""

    monitor_id: str
    number: int
    kind: AlarmKind
    state: AlarmState
    measurement_number: int
    message: str
    topics: tuple[str, ...]
    raise_time: datetime
    acknowledge_time: datetime | None
    acknowledge_by: str
    comment: str
    clear_time: datetime | None
    run_wanted: bool
    run_id: str
    run_error: str


@dataclass(frozen=True, slots=True)
class Draw:
    """One stored answer. ``phase``: original, aligned, sample or confirm; the text is the principle, or
    empty."""

    phase: str
    topic_id: str
    index: int
    draw: int
    principle: str
    outcome: str
    adapter: str
    adapter_sha256: str

    @property
    def key(self) -> tuple[str, str, int, int]:
        """Its place within the measurement."""
        return self.phase, self.topic_id, self.index, self.draw
