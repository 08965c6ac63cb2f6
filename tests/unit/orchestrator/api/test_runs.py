"""Studies and runs through a real HTTP server."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from services.orchestrator.ports import CompletionRecord, RunStatus
from tests.fakes.orchestrator import World

YAML = {"content-type": "application/yaml"}
STUDY = b"name: demo\n"


async def _create(client: httpx.AsyncClient, study: bytes = STUDY, **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/runs", content=study, headers={**YAML, **headers})
    assert answer.is_success, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/yaml", b"name: demo\nseed: 7\n"),
        ("application/x-yaml; charset=utf-8", b"name: demo\nseed: 7\n"),
        ("application/json", b'{"name": "demo",\n\t"seed": 7}'),
        ("", b"name: demo\nseed: 7\n"),
    ],
)
async def test_check_study_json_or_yaml_answers_with_every_setting(
    client: httpx.AsyncClient, media_type: str, body: bytes
) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = await client.post("/v1/studies/check", content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["seed"] == 7
    assert answer.json()["training"]["learning_rate"] == 1e-5


async def test_check_study_scientific_json_numbers_are_numbers(client: httpx.AsyncClient) -> None:
    study = {"name": "demo", "training": {"learning_rate": 2e-7}, "description": "emoji 😀 in ASCII"}
    answer = await client.post("/v1/studies/check", json=study)
    assert answer.json()["training"]["learning_rate"] == 2e-7
    assert answer.json()["description"] == "emoji 😀 in ASCII"


@pytest.mark.parametrize(
    ("media_type", "body", "line", "column"),
    [
        ("application/yaml", b"name: demo\nprincipels: 3\n", 2, 1),
        ("application/json", b'{"name": "demo",\n  "principels": 3}', 2, 3),
        ("application/json", b'{"name": "demo"\n  "seed": 3}', 2, 3),
        ("application/yaml", b"name: demo\nname: x\n", 2, 1),
        ("application/yaml", b"name: \xff\n", 1, 7),
    ],
)
async def test_check_study_fault_names_line_and_column(
    client: httpx.AsyncClient, media_type: str, body: bytes, line: int, column: int
) -> None:
    answer = await client.post("/v1/studies/check", content=body, headers={"content-type": media_type})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    first = answer.json()["errors"][0]
    assert (first["line"], first["column"]) == (line, column)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b"\x00", b"name: [", b"&a [*a]", b"{" * 5000])
@pytest.mark.parametrize("media_type", ["application/yaml", "application/json"])
async def test_check_study_odd_bodies_are_invalid(
    client: httpx.AsyncClient, body: bytes, media_type: str
) -> None:
    answer = await client.post("/v1/studies/check", content=body, headers={"content-type": media_type})
    assert answer.status_code == 422
    assert answer.json()["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("name", ["", "A B", "../x", "é", "名", "x" * 81, "a\\u0000b", "\\ud800"])
async def test_create_run_odd_names_are_invalid(client: httpx.AsyncClient, here: World, name: str) -> None:
    body = f'{{"name": "{name}"}}'.encode()
    answer = await client.post("/v1/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert here.queue.enqueued == []


@pytest.mark.parametrize(
    "media_type", ["application/xml", "multipart/form-data", "application/yaml; charset=latin-1"]
)
async def test_create_run_other_media_types_are_refused(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/v1/runs", content=STUDY, headers={"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "INVALID_INPUT")


async def test_create_run_answers_201_with_its_location(client: httpx.AsyncClient, here: World) -> None:
    answer = await client.post("/v1/runs", content=STUDY, headers=YAML)
    assert answer.status_code == 201
    run = answer.json()
    assert run["status"] == "queued"
    assert run["error"] is None
    assert run["progress"] == {}
    assert here.queue.enqueued == [run["run_id"]]
    assert (await client.get(answer.headers["location"])).json() == run


async def test_create_run_same_key_answers_200_with_the_same_run(client: httpx.AsyncClient) -> None:
    first = await client.post("/v1/runs", content=STUDY, headers={**YAML, "idempotency-key": "k"})
    again = await client.post("/v1/runs", content=STUDY, headers={**YAML, "idempotency-key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = await client.post("/v1/runs", content=b"name: other\n", headers={**YAML, "idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")


async def test_create_run_same_key_at_once_makes_one_run(client: httpx.AsyncClient, here: World) -> None:
    runs = await asyncio.gather(*(_create(client, **{"idempotency-key": "k"}) for _ in range(12)))
    assert len({run["run_id"] for run in runs}) == 1
    assert len((await client.get("/v1/runs")).json()["runs"]) == 1
    assert len(here.queue.enqueued) == 1


async def test_create_run_topics_in_other_scripts_come_back(client: httpx.AsyncClient, here: World) -> None:
    reference = {
        "id": "own",
        "title": "自己的",
        "version": "1",
        "review_date": "2027-01-01",
        "steward": "me",
        "responsible": "me",
        "source": "me",
        "principles": [{"id": "p", "heading": "p", "text": "善"}],
        "topics": {"健康": ["p"], "العدالة": ["p"]},
    }
    topics = [{"id": name, "title": name, "description": name} for name in ("健康", "العدالة")]
    answer = await client.post("/v1/runs", json={"name": "own", "reference_set": reference, "topics": topics})
    assert answer.status_code == 201, answer.text
    run_id = answer.json()["run_id"]
    record = CompletionRecord("original", "العدالة", 0, 0, "خير", "خير", "ok", "stop", 1, "", "")
    here.store.add_completions(run_id, [record])
    found = await client.get(f"/v1/runs/{run_id}/principles", params={"topic": "العدالة", "arm": "original"})
    assert [item["principle"] for item in found.json()["principles"]] == ["خير"]


async def test_list_runs_pages_and_filters(client: httpx.AsyncClient, here: World) -> None:
    ids = [(await _create(client))["run_id"] for _ in range(3)]
    here.store.update_run(ids[0], status=RunStatus.RUNNING)
    first = (await client.get("/v1/runs", params={"page_size": 2})).json()
    assert [run["run_id"] for run in first["runs"]] == [ids[2], ids[1]]
    token = first["next_page_token"]
    second = (await client.get("/v1/runs", params={"page_size": 2, "page_token": token})).json()
    assert [run["run_id"] for run in second["runs"]] == [ids[0]]
    assert second["next_page_token"] == ""
    running = (await client.get("/v1/runs", params={"status": "running"})).json()
    assert [run["run_id"] for run in running["runs"]] == [ids[0]]
    huge = await client.get("/v1/runs", params={"page_size": 10**15})
    assert len(huge.json()["runs"]) == 3


@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=-1",
        "page_size=x",
        "page_size=",
        "status=done",
        "page_token=x",
        "page_token=%00",
    ],
)
async def test_list_runs_bad_parameters_are_invalid(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/runs?{query}")
    assert answer.status_code == 422
    assert answer.json()["code"] == "INVALID_INPUT"
    assert query.split("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("run_id", ["r-none", "%00", "%C3%A9", "%E8%BF%90", "x" * 300, "%ff", ".."])
async def test_get_run_odd_ids_are_not_found(client: httpx.AsyncClient, run_id: str) -> None:
    for path in ("", "/report", "/report.html", "/events", "/principles"):
        answer = await client.get(f"/v1/runs/{run_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_cancel_run_answers_with_the_run(client: httpx.AsyncClient) -> None:
    run = await _create(client)
    cancelled = (await client.post(f"/v1/runs/{run['run_id']}/cancel")).json()
    assert (cancelled["status"], cancelled["cancel_requested"]) == ("cancelled", True)
    assert cancelled["end_time"]


async def test_failed_run_shows_its_error_and_progress(client: httpx.AsyncClient, here: World) -> None:
    run_id = (await _create(client))["run_id"]
    here.store.add_event(run_id, "stage.progress", {"stage": "uncover", "done": 1, "total": 4})
    here.store.update_run(run_id, status=RunStatus.FAILED, error_code="PRECONDITION", error_message="why")
    run = (await client.get(f"/v1/runs/{run_id}")).json()
    assert run["error"] == {"code": "PRECONDITION", "message": "why"}
    assert run["progress"] == {"uncover": {"done": 1, "total": 4}}


async def _read_events(client: httpx.AsyncClient, run_id: str, last: str = "") -> list[dict[str, str]]:
    headers = {"last-event-id": last} if last else {}
    events: list[dict[str, str]] = []
    async with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        current: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if not line and "data" in current:
                events.append(current)
                current = {}
            name, _, value = line.partition(": ")
            if name:
                current[name] = value
    return events


async def test_events_stream_what_was_and_what_comes_until_the_end(
    client: httpx.AsyncClient, here: World
) -> None:
    run_id = (await _create(client))["run_id"]
    reading = asyncio.create_task(_read_events(client, run_id))
    await asyncio.sleep(0.3)
    here.store.add_event(run_id, "topic.means", {"means": {"健康": 0.5, "x": float("nan")}})
    here.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded")
    events = await asyncio.wait_for(reading, 15)
    assert [(event["id"], event["event"]) for event in events] == [
        ("1", "run.queued"),
        ("2", "topic.means"),
        ("3", "run.succeeded"),
    ]
    body = json.loads(events[1]["data"])
    assert body["data"] == {"means": {"健康": 0.5, "x": None}}
    assert (body["number"], body["kind"]) == (2, "topic.means")


async def test_events_last_event_id_gives_only_later_ones_and_204_at_the_end(
    client: httpx.AsyncClient, here: World
) -> None:
    run_id = (await _create(client))["run_id"]
    here.store.change_status(run_id, RunStatus.FAILED, "run.failed")
    assert [event["id"] for event in await _read_events(client, run_id, "1")] == ["2"]
    answer = await client.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": "2"})
    assert answer.status_code == 204


@pytest.mark.parametrize("number", ["x", "-1", "1.5", str(2**63), "9" * 400])
async def test_events_bad_last_event_id_is_invalid(client: httpx.AsyncClient, number: str) -> None:
    run_id = (await _create(client))["run_id"]
    answer = await client.get(f"/v1/runs/{run_id}/events", headers={"last-event-id": number})
    assert answer.status_code == 422


async def test_events_quiet_run_sends_heartbeats(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.api.sse.HEARTBEAT_S", 0.1)
    run_id = (await _create(client))["run_id"]
    async with client.stream("GET", f"/v1/runs/{run_id}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith(": ping"):
                break


async def test_report_of_a_run_that_succeeded(client: httpx.AsyncClient, here: World) -> None:
    run_id = (await _create(client))["run_id"]
    assert (await client.get(f"/v1/runs/{run_id}/report")).status_code == 404
    report = here.artifacts.put_bytes("r.json", b'{"schema_version": "1.0", "x": NaN}')
    page = here.artifacts.put_bytes("r.html", "<p>é</p>".encode())
    here.store.update_run(run_id, report_uri=report.uri, report_html_uri=page.uri)
    answer = await client.get(f"/v1/runs/{run_id}/report")
    assert answer.json() == {"schema_version": "1.0", "x": None}
    html = await client.get(f"/v1/runs/{run_id}/report.html")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert html.text == "<p>é</p>"
