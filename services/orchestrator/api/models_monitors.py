"""What the routes of monitors take and answer with."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.orchestrator.monitor.live.records import LiveOutcome, Sample
from services.orchestrator.monitor.records import (
    Alarm,
    AlarmKind,
    AlarmState,
    Kind,
    Measurement,
    MeasurementState,
    Monitor,
    MonitorState,
)

_TIME = "2026-11-26T14:00:00Z"
_MONITOR: dict[str, Any] = {
    "monitor_id": "mo-3f9c2a71d0b4",
    "name": "public-name",
    "state": "normal",
    "route": "valign",
    "endpoint": "",
    "schedule": "0 * * * *",
    "time_zone": "UTC",
    "next_time": "2026-11-26T15:00:00Z",
    "document": {"name": "public-name"},
    "create_time": _TIME,
    "create_by": "key:operator",
    "baseline_number": 1,
    "last_success_time": _TIME,
    "last_error": "",
    "failures": 0,
    "live_kept": 412,
    "live_last_time": _TIME,
    "live_error": "",
}
_LIVE: dict[str, Any] = {
    "outcome": "normal",
    "samples": 200,
    "wanted": 200,
    "p_value": 0.31,
    "answers_energy": 0.012,
    "requests_energy": 0.009,
    "moved": [],
    "message": "live exchanges: as after the promotion; p = 0.3100",
}
_TOPIC = {"value": 0.412, "baseline": 0.398, "energy": 0.021, "p_value": 0.61, "texts": 10}
_MEASUREMENT: dict[str, Any] = {
    "monitor_id": "mo-3f9c2a71d0b4",
    "number": 4,
    "kind": "scheduled",
    "state": "succeeded",
    "outcome": "normal",
    "fire_time": _TIME,
    "end_time": _TIME,
    "baseline_number": 1,
    "p_value": 0.42,
    "confirm_p_value": 1.0,
    "by_topic": {"privacy": _TOPIC},
    "adapters": [{"name": "", "sha256": "", "texts": 60}],
    "message": "no drift: p = 0.4200",
    "live": _LIVE,
}
_SAMPLE: dict[str, Any] = {
    "monitor_id": "mo-3f9c2a71d0b4",
    "number": 31,
    "route_version": 2,
    "request_id": "chatcmpl-1",
    "request": "Write to [email] that I come later.",
    "answer": "I will be late.",
    "adapter": "run-i1-0a0a0a0a",
    "end_time": _TIME,
}
_ALARM: dict[str, Any] = {
    "monitor_id": "mo-3f9c2a71d0b4",
    "number": 1,
    "kind": "drift",
    "state": "acknowledged",
    "measurement_number": 9,
    "message": "drift, confirmed by a second sample: p = 0.0010",
    "topics": ["privacy"],
    "raise_time": _TIME,
    "acknowledge_time": _TIME,
    "acknowledge_by": "key:operator",
    "comment": "Rolled back.",
    "clear_time": None,
    "run_id": "",
    "run_error": "",
}


class CreateMonitorBody(BaseModel):
    """A monitor that is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"document": "name: public-name\ntarget:\n  route: valign\n"}]},
    )

    document: str = Field(description="The monitor as YAML or JSON text.", max_length=300_000)


class MonitorSummary(BaseModel):
    """A monitor."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MONITOR]})

    monitor_id: str = Field(description="Its id.")
    name: str = Field(description="Its name.")
    state: MonitorState = Field(
        description="`starting` without a baseline, `failing` if measurements fail in a row."
    )
    route: str = Field(description="The public name that it watches; empty for an endpoint.")
    endpoint: str = Field(description="URL and model of its endpoint; empty for a route.")
    schedule: str = Field(description="When it measures, in cron's five fields.")
    time_zone: str = Field(description="The schedule's time zone.")
    next_time: datetime | None = Field(description="When it measures next; null while it is paused.")
    document: dict[str, Any] = Field(description="Its document, with its sets written out.")
    create_time: datetime = Field(description="When it was made.")
    create_by: str = Field(description="Who made it.")
    baseline_number: int = Field(description="The measurement that is its baseline; 0 for none.")
    last_success_time: datetime | None = Field(description="When it last measured.")
    last_error: str = Field(description="Why the last measurement failed; empty if it did not.")
    failures: int = Field(description="Measurements that failed in a row.")
    live_kept: int = Field(description="Redacted exchanges of people that are kept.")
    live_last_time: datetime | None = Field(description="When the last of them ended.")
    live_error: str = Field(description="Why no exchanges came; empty once one has come.")

    @classmethod
    def of(cls, monitor: Monitor) -> "MonitorSummary":
        """From the application's record."""
        document = dict(monitor.document)
        return cls(
            monitor_id=monitor.monitor_id,
            name=monitor.name,
            state=monitor.state,
            route=monitor.route,
            endpoint=monitor.endpoint,
            schedule=document["schedule"],
            time_zone=document["time_zone"],
            next_time=None if monitor.paused else monitor.next_time,
            document=document,
            create_time=monitor.create_time,
            create_by=monitor.create_by,
            baseline_number=monitor.baseline_number,
            last_success_time=monitor.last_success_time,
            last_error=monitor.last_error,
            failures=monitor.failures,
            live_kept=monitor.live_kept,
            live_last_time=monitor.live_last_time,
            live_error=monitor.live_error,
        )


class MonitorList(BaseModel):
    """A page of monitors."""

    monitors: list[MonitorSummary] = Field(description="Newest first.")
    next_page_token: str = Field(description="For the next page; empty on the last.")


class TopicValue(BaseModel):
    """What one topic showed."""

    value: float = Field(description="Mean value difference now, in [0, 2].")
    baseline: float = Field(description="That of the baseline.")
    energy: float = Field(description="Energy distance between the texts of the baseline and now.")
    p_value: float = Field(description="Adjusted for all topics and both statistics; 1 in a baseline.")
    texts: int = Field(description="Usable texts now.")


class ServedAdapter(BaseModel):
    """An adapter that answered."""

    name: str = Field(description="Its name; empty for the base model.")
    sha256: str = Field(description="sha256 (hex) of its content; empty for the base model.")
    texts: int = Field(description="How many texts it gave.")


class LiveWindow(BaseModel):
    """A look at the exchanges of people."""

    outcome: LiveOutcome = Field(
        description="`collecting` before there are enough, `small` below the minimum effect, `failed` if"
        " they could not be embedded."
    )
    samples: int = Field(description="Exchanges that were there.")
    wanted: int = Field(description="Exchanges of a whole window.")
    p_value: float = Field(description="Of the window; 1 if nothing was tested.")
    answers_energy: float = Field(description="Energy distance of the answers to those of the baseline.")
    requests_energy: float = Field(description="Energy distance of the requests to those of the baseline.")
    moved: list[str] = Field(description="What moved, the most first: `answers`, `requests`.")
    message: str = Field(description="The outcome in words.")


class MonitorSample(BaseModel):
    """One exchange of people, redacted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAMPLE]})

    monitor_id: str = Field(description="The monitor.")
    number: int = Field(description="Its number among the monitor's, from 1.")
    route_version: int = Field(description="Version of the route when it ended.")
    request_id: str = Field(description="Id of the HTTP request.")
    request: str = Field(description="The last turn that was asked.")
    answer: str = Field(description="The text that answered.")
    adapter: str = Field(description="The adapter that answered; empty for the base model.")
    end_time: datetime = Field(description="When it ended.")

    @classmethod
    def of(cls, sample: Sample) -> "MonitorSample":
        """From the application's record."""
        return cls(**{name: getattr(sample, name) for name in cls.model_fields})


class MonitorSampleList(BaseModel):
    """A page of a monitor's exchanges."""

    samples: list[MonitorSample] = Field(description="Newest first.")
    next_page_token: str = Field(description="For the next page; empty on the last.")


class MeasurementSummary(BaseModel):
    """One period's measurement, or a baseline."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MEASUREMENT]})

    monitor_id: str = Field(description="The monitor.")
    number: int = Field(description="Its number among the monitor's, from 1.")
    kind: Kind = Field(description="Why it was measured.")
    state: MeasurementState = Field(description="How far it is.")
    outcome: str = Field(
        description="`baseline`, `normal`, `unconfirmed`, `small`, `drift` or `identity`; empty before"
        " it has one."
    )
    fire_time: datetime = Field(description="The schedule's moment, or when it was asked for.")
    end_time: datetime | None = Field(description="When it ended.")
    baseline_number: int = Field(description="What it was compared with; 0 for a baseline.")
    p_value: float = Field(description="Of the period; 1 if nothing was tested.")
    confirm_p_value: float = Field(description="Of the second sample; 1 if none was drawn.")
    by_topic: dict[str, TopicValue] = Field(description="What each topic showed.")
    adapters: list[ServedAdapter] = Field(description="Who answered.")
    message: str = Field(description="The outcome, or the error, in words.")
    live: LiveWindow | None = Field(description="The look at people's exchanges; null if it looks at none.")

    @classmethod
    def of(cls, one: Measurement) -> "MeasurementSummary":
        """From the application's record."""
        return cls(
            monitor_id=one.monitor_id,
            number=one.number,
            kind=one.kind,
            state=one.state,
            outcome=one.outcome,
            fire_time=one.fire_time,
            end_time=one.end_time,
            baseline_number=one.baseline_number,
            p_value=one.result.get("p_value", 1.0),
            confirm_p_value=one.result.get("confirm_p_value", 1.0),
            by_topic=one.result.get("by_topic", {}),
            adapters=one.result.get("adapters", []),
            message=one.message,
            live=one.result.get("live"),
        )


class MeasurementList(BaseModel):
    """A page of a monitor's measurements."""

    measurements: list[MeasurementSummary] = Field(description="Newest first.")
    next_page_token: str = Field(description="For the next page; empty on the last.")


class MonitorAlarm(BaseModel):
    """Drift, an adapter that nobody promoted, or measurements that fail."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ALARM]})

    monitor_id: str = Field(description="The monitor.")
    number: int = Field(description="Its number among the monitor's, from 1.")
    kind: AlarmKind = Field(description="What it is about.")
    state: AlarmState = Field(description="What became of it.")
    measurement_number: int = Field(description="The measurement that raised it.")
    message: str = Field(description="What happened, in words.")
    topics: list[str] = Field(description="Topics that moved, the most first.")
    raise_time: datetime = Field(description="When it was raised.")
    acknowledge_time: datetime | None = Field(description="When somebody said that it was seen.")
    acknowledge_by: str = Field(description="Who said so.")
    comment: str = Field(description="In these words.")
    clear_time: datetime | None = Field(description="When it was cleared.")
    run_id: str = Field(description="The run that it opened; empty for none.")
    run_error: str = Field(description="Why no run could be opened; empty if none was asked for.")

    @classmethod
    def of(cls, alarm: Alarm) -> "MonitorAlarm":
        """From the application's record."""
        return cls(
            **{name: getattr(alarm, name) for name in cls.model_fields if name != "topics"},
            topics=list(alarm.topics),
        )


class MonitorAlarmList(BaseModel):
    """A page of a monitor's alarms."""

    alarms: list[MonitorAlarm] = Field(description="Newest first.")
    next_page_token: str = Field(description="For the next page; empty on the last.")


class AcknowledgeBody(BaseModel):
    """Somebody has seen an alarm."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"comment": "Rolled back."}]})

    comment: str = Field("", description="What is done about it.", max_length=2000)
