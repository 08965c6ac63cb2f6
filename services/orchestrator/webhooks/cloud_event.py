"""A delivery as a CloudEvent 1.0 in structured mode (https://cloudevents.io, HTTP binding section 3.2)."""

from typing import Any

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.webhooks.records import Delivery

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
UNNAMED = "urn:valign:installation"
"""The source of an installation that was given no URL."""


def type_of(kind: str) -> str:
    """``run.ended`` as a CloudEvents type."""
    return f"valign.{kind}.v1"


def body_of(delivery: Delivery, public_url: str) -> bytes:
    """The request's body: the same bytes for every attempt.

    Args:
        public_url: where others reach this installation's REST API; empty if that was not set.
    """
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": delivery.event_id,
        "source": public_url or UNNAMED,
        "type": type_of(delivery.event_type),
        "time": delivery.event_time,
        "subject": delivery.subject,
        "datacontenttype": "application/json",
    }
    if delivery.event_type in EVENT_TYPES:
        schema = f"{public_url}/v1/event-types/" if public_url else "urn:valign:event-type:"
        attributes["dataschema"] = f"{schema}{delivery.event_type}"
    return bytes(JSONFormat().write(CloudEvent(attributes, dict(delivery.data))))
