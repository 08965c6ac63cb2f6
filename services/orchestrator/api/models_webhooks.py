"""What the routes of webhooks take and answer with."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.orchestrator.api.lists import NextPage
from services.orchestrator.event_types import SCHEMA_DIALECT, EventType
from services.orchestrator.webhooks.records import Delivery, DeliveryState, Webhook, WebhookState
from services.orchestrator.webhooks.service import DEFAULT_OVERLAP_S, MAX_OVERLAP_S, MAX_REPLAYED

_TIME = "2026-11-26T14:03:05.123456Z"
_URL = "https://hooks.example.org/valign"
_WEBHOOK: dict[str, Any] = {
    "webhook_id": "wh-3f9c2a71d0b4",
    "url": _URL,
    "event_types": ["run.*", "adapter.approval_asked"],
    "description": "chat room of the team",
    "state": "active",
    "state_reason": "",
    "create_time": _TIME,
    "create_by": "key:operator",
    "update_time": _TIME,
    "former_secret_expire_time": None,
    "pending": 0,
    "dead": 0,
    "last_success_time": _TIME,
}
_SHOWN_ONCE = "whsec_<base64 of 32 bytes>"


class CreateWebhookBody(BaseModel):
    """A webhook that is asked for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": _URL, "event_types": ["run.*", "adapter.approval_asked"]}]},
    )

    url: str = Field(
        description="Where to send events: an https URL without user and password.", max_length=4000
    )
    event_types: list[str] = Field(
        description="Names of events such as `run.ended`, or patterns such as `run.*` and `*`.",
        max_length=200,
    )
    description: str = Field("", description="A text for people.", max_length=2000)
    paused: bool = Field(False, description="True: it begins paused.")


class UpdateWebhookBody(BaseModel):
    """What to change; what is left out, or null, stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"paused": True}]})

    url: str | None = Field(
        None, description="Another address; what waits is sent there too.", max_length=4000
    )
    event_types: list[str] | None = Field(None, description="Other events.", max_length=200)
    description: str | None = Field(None, description="Another text.", max_length=2000)
    paused: bool | None = Field(
        None, description="True pauses it; false makes it active, also one that is disabled."
    )


class RotateSecretBody(BaseModel):
    """How long the present secret still counts."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_s": 86400}]})

    overlap_s: int = Field(
        DEFAULT_OVERLAP_S,
        description="Seconds for which deliveries are signed with the present secret too.",
        ge=0,
        le=MAX_OVERLAP_S,
    )


class ReplayBody(BaseModel):
    """What to send once more."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"numbers": [17]}]})

    numbers: list[int] = Field(
        default=[],
        description="Numbers of deliveries that were given up or delivered; none: every dead letter.",
        max_length=MAX_REPLAYED,
    )


class WebhookSummary(BaseModel):
    """A webhook without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WEBHOOK]})

    webhook_id: str = Field(description="Its id.")
    url: str = Field(description="Where events are sent.")
    event_types: list[str] = Field(description="Which events.")
    description: str = Field(description="A text for people.")
    state: WebhookState = Field(description="Whether events are sent.")
    state_reason: str = Field(description="Why it is disabled; empty otherwise.")
    create_time: datetime = Field(description="When it was made.")
    create_by: str = Field(description="Who made it.")
    update_time: datetime = Field(description="When it was last changed by a person, or disabled.")
    former_secret_expire_time: datetime | None = Field(
        description="Until when deliveries are signed with the former secret too; null if there is none."
    )
    pending: int = Field(description="Deliveries that wait to be sent, or to be sent again.")
    dead: int = Field(description="Dead letters.")
    last_success_time: datetime | None = Field(description="When a delivery last succeeded.")

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookSummary":
        """From the record."""
        named = {name: getattr(webhook, name) for name in cls.model_fields if hasattr(webhook, name)}
        return cls(**named, former_secret_expire_time=webhook.former_until)


class WebhookWithSecret(BaseModel):
    """A webhook and its new secret."""

    webhook: WebhookSummary = Field(description="The webhook.")
    secret: str = Field(
        description="The key that deliveries are signed with. It cannot be shown again.",
        examples=[_SHOWN_ONCE],
    )


class WebhookList(NextPage):
    """A page of webhooks."""

    webhooks: list[WebhookSummary] = Field(description="Newest first.")


class WebhookDelivery(BaseModel):
    """One event on its way to one webhook."""

    webhook_id: str = Field(description="The webhook.")
    number: int = Field(description="Its number among the webhook's deliveries, from 1.")
    event_id: str = Field(description="The event's id: the same for every attempt and every replay.")
    event_type: str = Field(description="The kind of event.", examples=["run.ended"])
    subject: str = Field(description="What it is about.", examples=["runs/r-20261126-aaaaaa"])
    event_time: datetime = Field(description="When the event happened.")
    state: DeliveryState = Field(description="How far it is.")
    attempts: int = Field(description="How often it was tried since it was made, or replayed.")
    next_attempt_time: datetime | None = Field(description="When it will be tried next.")
    last_attempt_time: datetime | None = Field(description="When it was last tried.")
    last_status: int = Field(description="HTTP status of the last answer; 0 if there was none.")
    last_error: str = Field(description="What went wrong the last time; empty if nothing did.")
    last_answer: str = Field(description="The beginning of the last answer's body, if it was no 2xx.")
    end_time: datetime | None = Field(description="When the receiver took it, or it was given up.")
    data: dict[str, Any] = Field(description="The event's data.")

    @classmethod
    def of(cls, delivery: Delivery) -> "WebhookDelivery":
        """From the record."""
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class WebhookDeliveryList(NextPage):
    """A page of deliveries."""

    deliveries: list[WebhookDelivery] = Field(description="Newest first.")


class Replayed(BaseModel):
    """What was asked to be sent once more."""

    replayed: int = Field(description="Deliveries that wait to be sent again.")


class EventDataSchema(BaseModel):
    """JSON Schema (2020-12) of an event's data, as it is: any keyword may be there."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"$schema": SCHEMA_DIALECT, "type": "object", "properties": {}}]},
    )


class EventTypeSummary(BaseModel):
    """A kind of event."""

    type: str = Field(
        description="Its name; the CloudEvents type is `valign.<name>.v1`.", examples=["run.ended"]
    )
    description: str = Field(description="When it happens.")
    data_schema: dict[str, Any] = Field(description="JSON Schema (2020-12) of its data.")

    @classmethod
    def of(cls, event_type: EventType) -> "EventTypeSummary":
        """From the catalogue."""
        return cls(type=event_type.kind, description=event_type.description, data_schema=event_type.schema())


class EventTypeList(BaseModel):
    """Kinds of events."""

    event_types: list[EventTypeSummary] = Field(description="By name.")
