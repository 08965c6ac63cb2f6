"""Webhooks over REST, gRPC and the command line: the same records, and no secret but at the beginning."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from structlog.testing import capture_logs

from services.cli.__main__ import main
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.api import build_http_app
from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.store.outbox import announce
from services.orchestrator.webhooks.delivering import Deliverer
from services.orchestrator.webhooks.retrying import Retrying
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.sending import Sender
from services.orchestrator.webhooks.signing import SecretBox
from tests.fakes.orchestrator import World, world
from tests.fakes.receiver import Answer, Receiver
from tests.fakes.servers import http_server

BODY = {"url": "https://hooks.example.org/valign", "event_types": ["run.*"], "description": "chat"}


async def test_webhook_lives_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    made = await rest.post("/v1/webhooks", json=BODY)
    assert made.status_code == 201
    webhook, secret = made.json()["webhook"], made.json()["secret"]
    webhook_id = webhook["webhook_id"]
    assert secret.startswith("whsec_")
    path = f"/v1/webhooks/{webhook_id}"
    read = await rest.get(path)
    assert read.json() == webhook
    over_grpc = _plain((await stub.GetWebhook(pb.GetWebhookRequest(webhook_id=webhook_id))).webhook)
    assert over_grpc == webhook
    assert (await rest.get("/v1/webhooks")).json() == {"webhooks": [webhook], "next_page_token": ""}

    changed = await rest.patch(path, json={"event_types": ["*"], "paused": True})
    assert (changed.json()["state"], changed.json()["event_types"]) == ("paused", ["*"])
    assert (await rest.post(f"{path}/test")).status_code == 412
    update = pb.UpdateWebhookRequest(webhook_id=webhook_id, paused=False, description="")
    active = (await stub.UpdateWebhook(update)).webhook
    assert (active.state, active.description) == (pb.WEBHOOK_STATE_ACTIVE, "")
    assert list(active.event_types) == ["*"]

    tried = await rest.post(f"{path}/test")
    assert (tried.status_code, tried.json()["event_type"], tried.json()["number"]) == (202, "webhook.test", 1)
    with here.store._engine.begin() as connection:
        announce(connection, "run.ended", "runs/r-1", {"status": "failed"})
    here.store.platform.webhooks.deliveries.fan_out()
    first = (await rest.get(f"{path}/deliveries", params={"page_size": 1})).json()
    second = await rest.get(f"{path}/deliveries", params={"page_token": first["next_page_token"]})
    both = first["deliveries"] + second.json()["deliveries"]
    assert [one["number"] for one in both] == [2, 1]
    listed = await stub.ListWebhookDeliveries(pb.ListWebhookDeliveriesRequest(webhook_id=webhook_id))
    assert [_plain(one) | {"number": one.number} for one in listed.deliveries] == both
    dead = await rest.get(f"{path}/deliveries", params={"state": "dead"})
    assert dead.json()["deliveries"] == []

    rotated = await stub.RotateWebhookSecret(
        pb.RotateWebhookSecretRequest(webhook_id=webhook_id, overlap_s=60)
    )
    assert rotated.secret not in ("", secret)
    assert rotated.webhook.HasField("former_secret_expire_time")
    replayed = await rest.post(f"{path}/replay", json={"numbers": [1]})
    assert replayed.json() == {"replayed": 0}
    unknown = await rest.post(f"{path}/replay", json={"numbers": [77]})
    assert (unknown.status_code, "no delivery 77" in unknown.text) == (404, True)

    everything = read.text + changed.text + second.text + str(listed) + (await rest.get("/v1/webhooks")).text
    for text in (secret, rotated.secret, here.store.platform.webhooks.get(webhook_id).seed.nonce):
        assert text not in everything
    assert (await rest.delete(path)).status_code == 204
    assert (await rest.get(path)).status_code == 404
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=webhook_id))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    entries = list(here.store.audit_log.all_entries())
    assert [entry.action for entry in entries] == [
        "webhook.create",
        "webhook.update",
        "webhook.update",
        "webhook.test",
        "webhook.rotate_secret",
        "webhook.replay",
        "webhook.delete",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "http://hooks.example.org/"}, "must be https://"),
        ({"url": "https://user:pass@hooks.example.org/"}, "no user or password"),
        ({"url": "ftp://hooks.example.org/"}, "https:// URL"),
        ({"url": "https://hooks.example.org/#part"}, "fragment"),
        ({"url": "https://hooks.example.org:99999/"}, "url is not one"),
        ({"url": "https://"}, "with a host"),
        ({"url": "https://hooks.example.org/ü"}, "ASCII"),
        ({"event_types": []}, "1 to 50"),
        ({"event_types": ["run.exploded"]}, "no event fits"),
        ({"event_types": ["webhook.test"]}, "no event fits"),
        ({"event_types": ["run.[a-z]*"]}, "no event fits"),
        ({"description": "a\nb"}, "control characters"),
    ],
)
async def test_webhook_that_cannot_be_is_refused_with_the_reason(
    rest: httpx.AsyncClient, change: dict[str, object], told: str
) -> None:
    refused = await rest.post("/v1/webhooks", json={**BODY, **change})
    assert refused.status_code == 422
    assert told in refused.json()["detail"]
    assert "pass" not in refused.json()["detail"].replace("password", "")


async def test_event_types_are_listed_with_their_schemas_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    listed = (await rest.get("/v1/event-types")).json()["event_types"]
    assert [one["type"] for one in listed] == sorted(EVENT_TYPES)
    over_grpc = (await stub.ListEventTypes(pb.ListEventTypesRequest())).event_types
    assert [one.type for one in over_grpc] == sorted(EVENT_TYPES)
    schema = (await rest.get("/v1/event-types/run.ended")).json()
    assert schema == EVENT_TYPES["run.ended"].schema()
    one = await stub.GetEventType(pb.GetEventTypeRequest(type="run.ended"))
    assert MessageToDict(one.data_schema) == json.loads(json.dumps(schema))
    assert (await rest.get("/v1/event-types/run.exploded")).status_code == 404


def _plain(message: object) -> dict[str, object]:
    """The message as REST would spell it."""
    plain = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    plain["state"] = plain["state"].rpartition("_")[2].lower()
    for name in ("pending", "dead", "number"):
        if name in plain:
            plain[name] = int(plain[name])
    times = (
        ("former_secret_expire_time", "last_success_time")
        if "url" in plain
        else (
            "next_attempt_time",
            "last_attempt_time",
            "end_time",
        )
    )
    return {**dict.fromkeys(times), **plain}


@pytest.fixture
async def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver; VALIGN_URL leads to an orchestrator that leads."""
    told = Receiver()
    with world(tmp_path) as here:
        box = SecretBox(lambda: ["the key of a test, which is long enough"])
        deliveries = here.store.platform.webhooks.deliveries
        retrying = Retrying(max_attempts=1)
        deliverer = Deliverer(deliveries, Sender(box, UrlRules(local=True)), retrying, interval_s=0.05)
        leading = asyncio.create_task(deliverer.lead(1))
        async with http_server(told) as url, http_server(build_http_app(here.application)) as api:
            monkeypatch.setenv("VALIGN_URL", api)
            yield told, url
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading


async def test_command_line_from_create_to_delete(
    receiver: tuple[Receiver, str], capsys: pytest.CaptureFixture[str]
) -> None:
    told, url = receiver

    async def valign(*arguments: str) -> tuple[int, str]:
        def in_thread() -> int:
            try:
                main(arguments)
            except SystemExit as ended:
                return int(ended.code or 0)
            return 0

        # The server's own lines would stand between those of the command.
        with capture_logs():
            code = await asyncio.to_thread(in_thread)
        return code, capsys.readouterr().out

    code, secret = await valign("webhooks", "create", f"{url}/a", "--events", "run.*, adapter.*")
    assert (code, secret.startswith("whsec_")) == (0, True)
    _, listed = await valign("webhooks", "list", "--json")
    (one,) = json.loads(listed)["webhooks"]
    webhook_id = one["webhook_id"]
    assert one["event_types"] == ["run.*", "adapter.*"]
    code, said = await valign("webhooks", "test", webhook_id)
    assert (code, said) == (0, "delivered: the receiver answered 204.\n")
    assert told.of("/a")[0].signed_by(secret.strip())
    told.always["/a"] = Answer(500)
    code, said = await valign("webhooks", "test", webhook_id)
    assert (code, said) == (1, "not delivered: the receiver answered 500\n")
    _, letters = await valign("webhooks", "deliveries", webhook_id, "--state", "dead")
    assert "webhook.test" in letters
    told.always.clear()
    assert await valign("webhooks", "replay", webhook_id) == (0, "1 wait to be sent again.\n")
    code, said = await valign("webhooks", "update", webhook_id, "--pause", "--events", "*")
    assert (code, "paused" in said) == (0, True)
    assert (await valign("webhooks", "update", webhook_id))[0] == 1
    _, shown = await valign("webhooks", "show", webhook_id)
    assert f"{url}/a" in shown
    assert secret.strip() not in shown + listed
    code, second = await valign("webhooks", "rotate-secret", webhook_id, "--overlap-hours", "1")
    assert (code, second.startswith("whsec_"), second != secret) == (0, True, True)
    _, kinds = await valign("webhooks", "events")
    assert "adapter.approval_asked" in kinds
    assert (await valign("webhooks", "list"))[0] == 0
    assert (await valign("webhooks", "delete", webhook_id))[0] == 0
    assert (await valign("webhooks", "show", webhook_id))[0] == 1
