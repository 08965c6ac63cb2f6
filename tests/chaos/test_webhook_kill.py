"""The orchestrator killed while a receiver has its event in hand: nothing is lost, and ids stay."""

from pathlib import Path

import pytest

from tests.chaos.campaign.processes import answer_of
from tests.chaos.orchestrators import orchestrator
from tests.fakes.receiver import Answer, Receiver
from tests.fakes.servers import http_server

pytestmark = pytest.mark.chaos


async def test_kill_in_delivery_is_delivered_by_the_next_process_under_the_same_id(tmp_path: Path) -> None:
    receiver = Receiver()
    async with http_server(receiver) as url, orchestrator(tmp_path, {}) as system:
        asked = {"url": f"{url}/a", "event_types": ["run.*"]}
        made = answer_of(await system.http.post("/v1/webhooks", json=asked))
        path = f"/v1/webhooks/{made['webhook']['webhook_id']}"
        receiver.answers["/a"] = [Answer(wait_s=60)]
        run_id = await system.create_run({"name": "demo"})
        await receiver.until(lambda: len(receiver.of("/a")) == 1, 30)
        system.service.kill()
        await system.start()
        await system.http.post(f"/v1/runs/{run_id}/cancel")
        # The lease of the process that was killed ends first.
        await receiver.until(lambda: len(receiver.of("/a")) >= 3, 60)
        created, again, ended = receiver.of("/a")
        deliveries = answer_of(await system.http.get(f"{path}/deliveries"))["deliveries"]
    assert created.event == again.event
    assert all(one.signed_by(made["secret"]) for one in (created, again, ended))
    assert [one.event["type"] for one in (again, ended)] == ["valign.run.created.v1", "valign.run.ended.v1"]
    assert ended.event["data"]["status"] == "cancelled"
    assert [(one["event_type"], one["event_id"]) for one in deliveries] == [
        ("run.ended", ended.event["id"]),
        ("run.created", created.event["id"]),
    ]
    log = (tmp_path / "orchestrator.log").read_text()
    assert "webhook.attempted" in log
    assert made["secret"] not in log
