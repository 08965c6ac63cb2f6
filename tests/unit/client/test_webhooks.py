"""Webhooks: what is asked of the API, and how its answers are read."""

import json

import httpx

from services.client import Client

HOOK = {
    "webhook_id": "wh-1",
    "url": "https://hooks.example.org/valign",
    "event_types": ["run.*"],
    "description": "",
    "state": "active",
    "state_reason": "",
    "create_time": "2026-11-26T14:03:05Z",
    "create_by": "key:operator",
    "update_time": "2026-11-26T14:03:05Z",
    "pending": 0,
    "dead": 0,
}
DELIVERY = {
    "webhook_id": "wh-1",
    "number": 1,
    "event_id": "e-1",
    "event_type": "run.ended",
    "subject": "runs/r-1",
    "event_time": "2026-11-26T14:03:05Z",
    "state": "dead",
    "attempts": 3,
    "last_status": 500,
    "last_error": "it answered 500",
    "data": {},
}
ANSWERS: dict[str, object] = {
    "POST /v1/webhooks": {"webhook": HOOK, "secret": "whsec_x"},
    "GET /v1/webhooks": {"webhooks": [HOOK], "next_page_token": ""},
    "GET /v1/webhooks/wh-1": HOOK,
    "PATCH /v1/webhooks/wh-1": {**HOOK, "state": "paused"},
    "POST /v1/webhooks/wh-1/rotate-secret": {"webhook": HOOK, "secret": "whsec_y"},
    "POST /v1/webhooks/wh-1/test": DELIVERY,
    "GET /v1/webhooks/wh-1/deliveries": {"deliveries": [DELIVERY], "next_page_token": ""},
    "POST /v1/webhooks/wh-1/replay": {"replayed": 1},
    "DELETE /v1/webhooks/wh-1": None,
}


def test_every_call_asks_its_path_once_and_reads_the_answer() -> None:
    asked: dict[str, httpx.Request] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        name = f"{request.method} {request.url.path}"
        asked[name] = request
        return httpx.Response(204) if ANSWERS[name] is None else httpx.Response(200, json=ANSWERS[name])

    with Client("http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as client:
        hooks = client.webhooks
        assert hooks.create("https://hooks.example.org/valign", ["run.*"]).secret == "whsec_x"  # noqa: S105
        assert [one.webhook_id for one in hooks.list()] == ["wh-1"]
        assert hooks.get("wh-1").url.startswith("https://")
        assert hooks.update("wh-1", paused=True).state == "paused"
        assert hooks.rotate_secret("wh-1", 60).secret == "whsec_y"  # noqa: S105
        assert hooks.test("wh-1").last_status == 500
        assert [one.number for one in hooks.deliveries("wh-1", "dead")] == [1]
        assert hooks.replay("wh-1", [1]) == 1
        hooks.delete("wh-1")
    assert set(asked) == set(ANSWERS)
    assert json.loads(asked["PATCH /v1/webhooks/wh-1"].content) == {"paused": True}
    assert asked["GET /v1/webhooks/wh-1/deliveries"].url.params["state"] == "dead"
    changes = [request for name, request in asked.items() if not name.startswith("GET")]
    assert all("idempotency-key" in request.headers for request in changes)
