"""The events that other systems are told of: when each happens, and what its data holds.

A model here is a contract: its JSON Schema is what ``dataschema`` points to. Within ``v1`` fields are added,
never renamed or removed. No field holds a secret, or a text of a prompt or completion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_REASON_CHARACTERS = 500
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class EventData(BaseModel):
    """Base of every event's data."""

    model_config = ConfigDict(frozen=True)


class RunCreated(EventData):
    """A run was accepted and waits for its turn."""

    run_id: str = Field(description="The run.")
    name: str = Field(description="Its study's name.")
    created_by: str = Field(description="Who began it.")
    study_sha256: str = Field(description="sha256 (hex) of the resolved study.")


class RunEnded(EventData):
    """A run has succeeded, failed, or been cancelled. A retry that ends is another event."""

    run_id: str = Field(description="The run.")
    name: str = Field(description="Its study's name.")
    created_by: str = Field(description="Who began it.")
    attempt: int = Field(description="1, and one more with every retry.", ge=1)
    status: Literal["succeeded", "failed", "cancelled"] = Field(description="How it ended.")
    error_code: str = Field(description="A code of the error table; empty unless it failed.")
    report_uri: str = Field(description="Where report.json lies in the artifact store; empty for none.")


class RunVerdictReason(BaseModel):
    """A rule of the gate that decided."""

    rule: str = Field(description="Id of the rule.")
    text: str = Field(description="In words and numbers.")
    value: float | None = Field(description="The number that the rule looked at.")
    threshold: float | None = Field(description="What the rule held it against.")


class RunVerdict(EventData):
    """The gate has judged what a run has trained: right after ``run.ended``, and anew with a human review."""

    run_id: str = Field(description="The run.")
    name: str = Field(description="Its study's name.")
    attempt: int = Field(description="1, and one more with every retry.", ge=1)
    decision: Literal["promote", "hold", "reject"] = Field(description="What the gate decided.")
    adapter: str = Field(description="The run's best adapter; empty if it has none.")
    reasons: tuple[RunVerdictReason, ...] = Field(description="The rules that decided so.")


class AdapterRegistered(EventData):
    """A training has ended with this adapter."""

    adapter: str = Field(description="Its name, which is never used for another one.")
    sha256: str = Field(description="sha256 (hex) of its content.")
    run_id: str = Field(description="The run that trained it.")
    arm: str = Field(description="The arm of the study; empty for the study's own training.")
    iteration: int = Field(description="Iteration of the run, from 1.")
    base_model: str = Field(description="The model that it adapts.")
    rank: int = Field(description="LoRA rank.")
    again: bool = Field(description="True if its files were pruned and a retry has trained it again.")


class AdapterMoved(EventData):
    """What happened to an adapter."""

    adapter: str = Field(description="Its name.")
    sha256: str = Field(description="sha256 (hex) of its content.")
    run_id: str = Field(description="The run that trained it.")
    actor: str = Field(description="Who did it; valign for the loop itself.")
    reason: str = Field(description="Why, in words; at most 500 characters.")


class AdapterApprovalAsked(AdapterMoved):
    """The gate let an adapter pass, and somebody other than who began its run must approve it."""

    created_by: str = Field(description="Who began its run, and cannot approve it.")


class AdapterApproved(EventData):
    """A person has approved an adapter."""

    adapter: str = Field(description="Its name.")
    sha256: str = Field(description="sha256 (hex) of its content.")
    run_id: str = Field(description="The run that trained it.")
    actor: str = Field(description="Who approved it.")


class AdapterRejected(AdapterMoved):
    """The gate, or a person, said that an adapter must never be served."""


class RouteMoved(EventData):
    """What a public name serves from now on. The replicas follow within seconds."""

    route: str = Field(description="The public name.")
    version: int = Field(description="The route's version, which rises with every change.", ge=1)
    adapter: str = Field(description="What it serves; empty for the base model.")
    former: str = Field(description="What it served before; empty for the base model.")
    actor: str = Field(description="Who did it; valign for an automatic promotion.")
    reason: str = Field(description="Why, in words; at most 500 characters.")


class AdapterPromoted(RouteMoved):
    """A route serves an adapter as what it is there for."""


class RouteCanary(RouteMoved):
    """A share of a route's requests goes to another adapter, or no longer does."""

    canary_adapter: str = Field(description="The adapter on trial; empty if the canary ended.")
    canary_share: float = Field(
        description="Its share of the requests, in [0, 1]; 0 if it ended.", ge=0, le=1
    )


class RouteRolledBack(RouteMoved):
    """A route serves again what it served before. A canary has ended with that."""


class MonitorEvent(EventData):
    """What happened to a monitor."""

    monitor_id: str = Field(description="The monitor.")
    name: str = Field(description="Its name.")
    route: str = Field(description="The public name that it watches; empty for an endpoint.")
    endpoint: str = Field(description="URL and model of the endpoint that it watches; empty for a route.")
    alarm: int = Field(description="Number of the alarm among the monitor's.", ge=1)
    message: str = Field(description="In words and numbers; at most 500 characters.")


class MonitorDrift(MonitorEvent):
    """What is served has changed, and no promotion or roll-back says so."""

    measurement: int = Field(description="Number of the measurement that showed it.", ge=1)
    kind: Literal["drift", "identity", "live"] = Field(
        description="identity: an adapter answered that nobody put on the route. live: what people ask or are"
        " answered has changed."
    )
    topics: tuple[str, ...] = Field(
        description="Topics that moved, the most first; of live: answers, requests."
    )
    p_value: float = Field(description="Of the period; 1 if nothing was tested.", ge=0, le=1)


class MonitorRecovered(MonitorEvent):
    """An alarm of a monitor was cleared."""

    kind: Literal["drift", "identity", "failed", "live"] = Field(description="What the alarm was about.")


class MonitorFailed(MonitorEvent):
    """A monitor could not measure, so many times in a row as its document says."""

    failures: int = Field(description="How many times.", ge=1)


class ReviewClosed(EventData):
    """A human review was closed; a verdict that follows from it is a ``run.verdict`` of its own."""

    review_id: str = Field(description="The review.")
    run_id: str = Field(description="The run whose texts were reviewed.")
    decision: str = Field(description="What the gate decides with the review; empty for a run without one.")
    revision: int = Field(description="Number of the report's revision that has the review in it.", ge=1)
    items: int = Field(description="Items that were reviewed.", ge=0)
    ratings: int = Field(description="Ratings that were given.", ge=0)
    raters: int = Field(description="Reviewers who gave them.", ge=0)
    alpha: float | None = Field(description="Krippendorff's alpha, ordinal; null if it cannot be computed.")
    closed_by: str = Field(description="Who closed it.")


class WebhookTest(EventData):
    """Somebody wants to see whether a webhook works. Sent to that webhook alone."""

    webhook_id: str = Field(description="The webhook.")
    actor: str = Field(description="Who asked.")


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of event. ``data`` describes it; its docstring says when it happens."""

    kind: str
    data: type[EventData]

    @property
    def description(self) -> str:
        """When it happens."""
        return " ".join((self.data.__doc__ or "").split())

    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of its data; unknown fields are allowed, as later versions may add some."""
        return {"$schema": SCHEMA_DIALECT, **self.data.model_json_schema()}


TEST = "webhook.test"
"""The kind that is sent to try a webhook."""

_DATA: dict[str, type[EventData]] = {
    "run.created": RunCreated,
    "run.ended": RunEnded,
    "run.verdict": RunVerdict,
    "adapter.registered": AdapterRegistered,
    "adapter.approval_asked": AdapterApprovalAsked,
    "adapter.approved": AdapterApproved,
    "adapter.rejected": AdapterRejected,
    "adapter.promoted": AdapterPromoted,
    "route.canary": RouteCanary,
    "route.rolled_back": RouteRolledBack,
    "monitor.drift": MonitorDrift,
    "monitor.recovered": MonitorRecovered,
    "monitor.failed": MonitorFailed,
    "review.closed": ReviewClosed,
    TEST: WebhookTest,
}

EVENT_TYPES: Mapping[str, EventType] = {kind: EventType(kind, _DATA[kind]) for kind in sorted(_DATA)}
"""Every kind, by name. One that is announced and not here is told without a schema."""


def short(text: str) -> str:
    """A reason as an event tells it."""
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[: MAX_REASON_CHARACTERS - 1]}…"
