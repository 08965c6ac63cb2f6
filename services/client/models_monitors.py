"""What the API answers of monitors, as types; see ``models``."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from services.client.models import Model

_KNOWN = Field(union_mode="left_to_right")


class MonitorState(StrEnum):
    """How a monitor stands."""

    STARTING = "starting"
    NORMAL = "normal"
    DRIFT = "drift"
    FAILING = "failing"
    PAUSED = "paused"


class Monitor(Model):
    """What is watched, and how it stands."""

    monitor_id: str
    name: str
    state: Annotated[MonitorState | str, _KNOWN]
    route: str
    endpoint: str
    schedule: str
    time_zone: str
    next_time: datetime | None
    document: dict[str, Any]
    create_time: datetime
    create_by: str
    baseline_number: int
    last_success_time: datetime | None
    last_error: str
    failures: int
    live_kept: int = 0
    live_last_time: datetime | None = None
    live_error: str = ""


class MonitorPage(Model):
    """A page of monitors."""

    monitors: list[Monitor]
    next_page_token: str = ""


class TopicValue(Model):
    """What one topic showed; ``value`` and ``baseline`` are mean value differences in [0, 2]."""

    value: float
    baseline: float
    energy: float
    p_value: float
    texts: int


class ServedAdapter(Model):
    """An adapter that answered; empty for the base model."""

    name: str
    sha256: str
    texts: int


class LiveWindow(Model):
    """A look at people's exchanges; energies are distances to those after the promotion."""

    outcome: str
    samples: int
    wanted: int
    p_value: float
    answers_energy: float
    requests_energy: float
    moved: list[str]
    message: str


class MonitorSample(Model):
    """One exchange of people, redacted."""

    monitor_id: str
    number: int
    route_version: int
    request_id: str
    request: str
    answer: str
    adapter: str
    end_time: datetime


class MonitorSamplePage(Model):
    """A page of a monitor's exchanges."""

    samples: list[MonitorSample]
    next_page_token: str = ""


class Measurement(Model):
    """One period's, or a baseline. ``outcome`` is empty until it has succeeded."""

    monitor_id: str
    number: int
    kind: str
    state: str
    outcome: str
    fire_time: datetime
    end_time: datetime | None
    baseline_number: int
    p_value: float
    confirm_p_value: float
    by_topic: dict[str, TopicValue]
    adapters: list[ServedAdapter]
    message: str
    live: LiveWindow | None = None


class MeasurementPage(Model):
    """A page of a monitor's measurements."""

    measurements: list[Measurement]
    next_page_token: str = ""


class MonitorAlarm(Model):
    """Drift, an adapter that nobody promoted, or measurements that fail."""

    monitor_id: str
    number: int
    kind: str
    state: str
    measurement_number: int
    message: str
    topics: list[str]
    raise_time: datetime
    acknowledge_time: datetime | None
    acknowledge_by: str
    comment: str
    clear_time: datetime | None
    run_id: str
    run_error: str


class MonitorAlarmPage(Model):
    """A page of a monitor's alarms."""

    alarms: list[MonitorAlarm]
    next_page_token: str = ""
