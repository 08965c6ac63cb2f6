"""Monitors over REST, gRPC and the command line: the same records and the same refusals."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from structlog.testing import capture_logs

from services.cli.__main__ import main
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.api import build_http_app
from services.orchestrator.monitor.records import Found, Kind, Measurement
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server

TEXT = "name: one\ntarget:\n  route: valign\ntopics: ai-for-social-good\n"
TOPIC = {"value": 0.6, "baseline": 0.4, "energy": 0.3, "p_value": 0.004, "texts": 10}
RESULT = {
    "fingerprint": "f",
    "p_value": 0.002,
    "confirm_p_value": 0.004,
    "by_topic": {"privacy": TOPIC},
    "adapters": [{"name": "a-1", "sha256": "0" * 64, "texts": 10}],
    "moved": ["privacy"],
}


async def _made(rest: httpx.AsyncClient, text: str = TEXT) -> dict[str, Any]:
    made = await rest.post("/v1/monitors", json={"document": text})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def _drift(here: World, monitor_id: str) -> Measurement:
    """A baseline, and a period that shows drift, as the leader keeps them."""
    measuring = here.store.platform.measuring
    for kind, found in ((Kind.BASELINE, Found.BASELINE), (Kind.SCHEDULED, Found.DRIFT)):
        store = here.store.platform.monitors
        queued = store.enqueue(monitor_id, kind, store.get(monitor_id).next_time)
        last = measuring.begin(queued, kind, 0, 0 if kind is Kind.BASELINE else 1)
        measuring.succeed(last, found, "as the test wants it", RESULT, 1)
    return last


async def test_monitor_lives_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    made = await _made(rest)
    path = f"/v1/monitors/{made['monitor_id']}"
    assert (made["state"], made["schedule"], made["time_zone"]) == ("starting", "0 * * * *", "UTC")
    assert made["next_time"].endswith(":00:00Z")
    assert (await rest.get(path)).json() == made
    assert (await rest.get("/v1/monitors")).json() == {"monitors": [made], "next_page_token": ""}
    request = pb.GetMonitorRequest(monitor_id=made["monitor_id"])
    over_grpc = (await stub.GetMonitor(request)).monitor
    assert (over_grpc.name, over_grpc.state, over_grpc.route) == ("one", pb.MONITOR_STATE_STARTING, "valign")
    assert json.loads(over_grpc.document) == made["document"]
    assert over_grpc.next_time.ToDatetime().isoformat() + "Z" == made["next_time"]

    paused = await rest.post(f"{path}/pause")
    assert (paused.json()["state"], paused.json()["next_time"]) == ("paused", None)
    resumed = await stub.ResumeMonitor(pb.ResumeMonitorRequest(monitor_id=made["monitor_id"]))
    assert resumed.monitor.state == pb.MONITOR_STATE_STARTING
    asked = await rest.post(f"{path}/measure")
    assert (asked.status_code, asked.json()["kind"], asked.json()["state"]) == (202, "asked", "queued")
    again = await stub.MeasureMonitor(pb.MeasureMonitorRequest(monitor_id=made["monitor_id"]))
    assert again.measurement.number == asked.json()["number"], "one at a time"
    assert (await rest.delete(path)).status_code == 204
    assert (await rest.get(path)).status_code == 404
    actions = [entry.action for entry in here.store.audit_log.entries(0, 100)]
    assert actions == [f"monitor.{verb}" for verb in ("create", "pause", "resume", "measure", "delete")]


async def test_drift_and_its_alarm_are_told_and_acknowledged(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    monitor_id = (await _made(rest))["monitor_id"]
    path = f"/v1/monitors/{monitor_id}"
    await asyncio.to_thread(_drift, here, monitor_id)
    listed = (await rest.get(f"{path}/measurements", params={"page_size": 1})).json()
    newest = listed["measurements"][0]
    assert (newest["number"], newest["outcome"], newest["by_topic"]) == (2, "drift", {"privacy": TOPIC})
    page = await rest.get(f"{path}/measurements", params={"page_token": listed["next_page_token"]})
    assert [one["outcome"] for one in page.json()["measurements"]] == ["baseline"]
    request = pb.GetMeasurementRequest(monitor_id=monitor_id, number=2)
    over_grpc = (await stub.GetMeasurement(request)).measurement
    assert MessageToDict(over_grpc.by_topic["privacy"], preserving_proto_field_name=True) == TOPIC
    assert (await rest.get(path)).json()["state"] == "drift"

    alarm = (await rest.get(f"{path}/alarms")).json()["alarms"][0]
    assert (alarm["kind"], alarm["state"], alarm["topics"]) == ("drift", "raised", ["privacy"])
    seen = await rest.post(f"{path}/alarms/1/acknowledge", json={"comment": "Looking."})
    assert (seen.json()["state"], seen.json()["comment"]) == ("acknowledged", "Looking.")
    with pytest.raises(grpc.aio.AioRpcError) as twice:
        await stub.AcknowledgeMonitorAlarm(pb.AcknowledgeMonitorAlarmRequest(monitor_id=monitor_id, number=1))
    assert twice.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (await rest.post(f"{path}/alarms/7/acknowledge", json={})).status_code == 404


async def test_fault_of_a_document_has_its_line(rest: httpx.AsyncClient) -> None:
    answer = await rest.post("/v1/monitors", json={"document": TEXT + "schedule: whenever\n"})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["line"], error["path"]) == (5, "schedule")


async def test_ids_that_nobody_has_are_missing(rest: httpx.AsyncClient) -> None:
    for path in ("x", "x%00", "mo-1/measurements", "mo-1/alarms"):
        assert (await rest.get(f"/v1/monitors/{path}")).status_code == 404, path
    made = await _made(rest)
    for number in (0, 9, 2**70):
        path = f"/v1/monitors/{made['monitor_id']}/measurements/{number}"
        assert (await rest.get(path)).status_code == 404, number


def test_command_line_makes_shows_and_acknowledges(
    tmp_path: Path, here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async def speak() -> None:
        with capture_logs():
            await commands()

    async def commands() -> None:
        async with http_server(build_http_app(here.application)) as url:
            file = tmp_path / "monitor.yaml"

            async def valign(*arguments: str) -> str:
                def run() -> None:
                    where = [] if arguments[0] == "init" else ["--url", url]
                    with pytest.raises(SystemExit) as ended:
                        main(["monitors", *arguments, *where])
                    assert not ended.value.code

                await asyncio.to_thread(run)
                return capsys.readouterr().out

            assert "valign monitors create" in await valign("init", str(file))
            monitor_id = json.loads(await valign("create", str(file), "--json"))["monitor_id"]
            assert "starting" in await valign("list")
            await asyncio.to_thread(_drift, here, monitor_id)
            assert "drift" in await valign("show", monitor_id)
            assert "0.600" in await valign("measurements", monitor_id)
            assert "raised" in await valign("alarms", monitor_id)
            assert "acknowledged" in await valign("acknowledge", monitor_id, "1", "--comment", "seen")
            assert "paused" in await valign("pause", monitor_id)
            assert "drift" in await valign("resume", monitor_id)
            assert "queued" in await valign("measure", monitor_id)
            assert "deleted" in await valign("delete", monitor_id)

    asyncio.run(speak())
