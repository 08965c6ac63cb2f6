"""Webhooks: where events are sent, and what became of each delivery."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from services.client.models_webhooks import EventType, Webhook, WebhookDelivery, WebhookWithSecret
from services.client.settings import asked
from services.client.sync.transport import Transport


class Webhooks:
    """``client.webhooks``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def create(
        self, url: str, event_types: Sequence[str], *, description: str = "", paused: bool = False
    ) -> WebhookWithSecret:
        """Send events of these kinds (``run.ended``, ``run.*``, ``*``) to an https URL. The secret that signs
        them is in this answer and nowhere else."""
        body = {"url": url, "event_types": list(event_types), "description": description, "paused": paused}
        return WebhookWithSecret.model_validate(self._http.json("POST", "/webhooks", json=body))

    def list(self) -> Iterator[Webhook]:
        """All of them, newest first."""
        token = ""
        while True:
            body = self._http.json("GET", "/webhooks", params=asked({"page_token": token}))
            for one in body["webhooks"]:
                yield Webhook.model_validate(one)
            token = body.get("next_page_token", "")
            if not token:
                return

    def get(self, webhook_id: str) -> Webhook:
        """One of them."""
        return Webhook.model_validate(self._http.json("GET", _path(webhook_id)))

    def update(self, webhook_id: str, **changes: Any) -> Webhook:
        """Change ``url``, ``event_types``, ``description`` or ``paused``."""
        return Webhook.model_validate(self._http.json("PATCH", _path(webhook_id), json=changes))

    def delete(self, webhook_id: str) -> None:
        """Remove it with its deliveries."""
        self._http.request("DELETE", _path(webhook_id))

    def rotate_secret(self, webhook_id: str, overlap_s: int | None = None) -> WebhookWithSecret:
        """Another secret; for ``overlap_s`` seconds deliveries are signed with the former one too."""
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        answer = self._http.json("POST", f"{_path(webhook_id)}/rotate-secret", json=body)
        return WebhookWithSecret.model_validate(answer)

    def test(self, webhook_id: str) -> WebhookDelivery:
        """Send an event ``webhook.test``; its delivery tells what came of it."""
        return WebhookDelivery.model_validate(self._http.json("POST", f"{_path(webhook_id)}/test"))

    def deliveries(self, webhook_id: str, state: str = "") -> Iterator[WebhookDelivery]:
        """What was, or will be, sent to it, newest first; ``state`` "dead" gives the dead letters."""
        token = ""
        while True:
            params = asked({"state": state, "page_token": token})
            body = self._http.json("GET", f"{_path(webhook_id)}/deliveries", params=params)
            for one in body["deliveries"]:
                yield WebhookDelivery.model_validate(one)
            token = body.get("next_page_token", "")
            if not token:
                return

    def replay(self, webhook_id: str, numbers: Sequence[int] = ()) -> int:
        """Send deliveries once more, by number, or every dead letter; returns how many."""
        body = {"numbers": list(numbers)}
        answer = self._http.json("POST", f"{_path(webhook_id)}/replay", json=body)
        return int(answer["replayed"])

    def event_types(self) -> Sequence[EventType]:
        """Every kind of event that webhooks are told of."""
        body = self._http.json("GET", "/event-types")
        return [EventType.model_validate(one) for one in body["event_types"]]

    def event_schema(self, kind: str) -> dict[str, Any]:
        """JSON Schema of the data of one kind of event: where ``dataschema`` of an event points."""
        found: dict[str, Any] = self._http.json("GET", f"/event-types/{quote(kind, safe='')}")
        return found


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"
