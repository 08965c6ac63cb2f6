"""Webhooks as the API answers them."""

from datetime import datetime
from typing import Any

from services.client.models import Model


class Webhook(Model):
    """Where events are sent, without its secret."""

    webhook_id: str
    url: str
    event_types: list[str]
    description: str
    state: str
    state_reason: str
    create_time: datetime
    create_by: str
    update_time: datetime
    former_secret_expire_time: datetime | None = None
    pending: int
    dead: int
    last_success_time: datetime | None = None


class WebhookWithSecret(Model):
    """A webhook and its new secret, which is shown once."""

    webhook: Webhook
    secret: str


class EventType(Model):
    """A kind of event; ``data_schema`` is the JSON Schema of its data."""

    type: str
    description: str
    data_schema: dict[str, Any]


class WebhookDelivery(Model):
    """One event on its way to one webhook."""

    webhook_id: str
    number: int
    event_id: str
    event_type: str
    subject: str
    event_time: datetime
    state: str
    attempts: int
    next_attempt_time: datetime | None = None
    last_attempt_time: datetime | None = None
    last_status: int
    last_error: str
    last_answer: str = ""
    end_time: datetime | None = None
    data: dict[str, Any]
