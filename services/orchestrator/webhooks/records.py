"""What webhooks speak of: addresses, and events on their way to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class WebhookState(StrEnum):
    """Whether a webhook is sent anything."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class SecretSeed:
    """What a secret is made from together with the key of the settings; by itself it signs nothing.

    ``key_id`` tells which key that is.
    """

    nonce: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address. ``from_sequence``: it is told of events after this one of the outbox.

    ``former_seed`` counts until ``former_until``; both are None if there is one secret.
    """

    webhook_id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    state: WebhookState
    create_time: datetime
    create_by: str
    update_time: datetime
    # No log line and no error may show it, although it signs nothing without the key.
    seed: SecretSeed = field(repr=False)
    state_reason: str = ""
    former_seed: SecretSeed | None = field(default=None, repr=False)
    former_until: datetime | None = None
    from_sequence: int = 0
    last_success_time: datetime | None = None
    pending: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook; ``number`` counts the webhook's deliveries from 1, in order."""

    webhook_id: str
    number: int
    event_id: str
    event_type: str
    subject: str
    event_time: datetime
    data: Mapping[str, Any]
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    first_attempt_time: datetime | None = None
    next_attempt_time: datetime | None = None
    last_attempt_time: datetime | None = None
    last_status: int = 0
    last_error: str = ""
    last_answer: str = ""
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of sending once.

    ``status`` is the HTTP status, 0 without an answer; ``error`` is empty if the receiver took it. ``gone``:
    the receiver wants nothing any more. ``retry_after_s``: what it asked for, None if nothing.
    """

    status: int = 0
    error: str = ""
    answer: str = ""
    gone: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries that wait and dead letters, of all webhooks; ``oldest`` is when the oldest waiting event
    of an active webhook happened."""

    pending: int
    dead: int
    oldest: datetime | None
