"""ETags over real servers: what need not be sent again, and what must not have changed."""

import grpc
import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.ports import RunStatus
from services.orchestrator.records import StepRecord
from tests.fakes.orchestrator import World
from tests.fakes.registry import add
from tests.fakes.studies import study_json

TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'


async def test_get_with_the_tag_that_it_gave_is_304_until_something_changes(
    rest: httpx.AsyncClient, here: World
) -> None:
    here.store.create_run("r-1", "demo", study_json())
    for path in ("/v1/runs/r-1", "/v1/runs", "/v1/reference-sets", "/v1/studies/shipped/demo", "/v1/routes"):
        first = await rest.get(path)
        tag = first.headers["etag"]
        assert tag.startswith('"')
        same = await rest.get(path, headers={"if-none-match": f'"other", W/{tag}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    run = await rest.get("/v1/runs/r-1")
    here.store.add_event("r-1", "stage.progress", {"stage": "uncover", "done": 1, "total": 2})
    changed = await rest.get("/v1/runs/r-1", headers={"if-none-match": run.headers["etag"]})
    assert changed.status_code == 200
    # Progress is new content, and nobody's decision.
    assert changed.json()["etag"] == run.json()["etag"] == "1-queued-00"
    assert (await rest.get("/v1/runs/r-1", headers={"if-none-match": "*"})).status_code == 304
    assert (await rest.get("/v1/runs/r-1", headers={"if-none-match": "no tag"})).status_code == 200


async def test_refusals_have_no_tag_and_events_pass(rest: httpx.AsyncClient, here: World) -> None:
    here.store.create_run("r-1", "demo", study_json())
    here.store.change_status("r-1", RunStatus.FAILED, "run.failed", {})
    assert "etag" not in (await rest.get("/v1/runs/r-none", headers={"if-none-match": "*"})).headers
    events = await rest.get("/v1/runs/r-1/events", headers={"if-none-match": "*"})
    assert (events.status_code, "etag" in events.headers) == (200, False)


async def test_content_that_cannot_change_says_so(rest: httpx.AsyncClient, here: World) -> None:
    asset = await here.application.assets.put("task", "sums", TASK)
    answer = await rest.get(f"/v1/assets/{asset.sha256}/content")
    assert answer.headers["etag"] == f'"{asset.sha256}"'
    assert "immutable" in answer.headers["cache-control"]
    again = await rest.get(
        f"/v1/assets/{asset.sha256}/content", headers={"if-none-match": f'"{asset.sha256}"'}
    )
    assert again.status_code == 304
    assert (await rest.get("/v1/runs")).headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry"])
async def test_steering_a_run_that_has_changed_is_412_and_changes_nothing(
    rest: httpx.AsyncClient, here: World, verb: str
) -> None:
    here.store.create_run("r-1", "demo", study_json())
    here.steps.recorded["r-1"] = [StepRecord(1, "prepare")]
    seen = await rest.get("/v1/runs/r-1")
    if verb == "retry":
        here.store.change_status("r-1", RunStatus.FAILED, "run.failed", {})
    else:
        here.store.request_pause("r-1")
    before, entries = here.store.get_run("r-1"), here.store.audit_log.head()
    for tag in (seen.headers["etag"], f'"{seen.json()["etag"]}"', 'W/"weak"'):
        answer = await rest.post(f"/v1/runs/r-1/{verb}", headers={"if-match": tag})
        assert (answer.status_code, answer.json()["code"]) == (412, "PRECONDITION")
        assert "has changed since" in answer.json()["detail"]
    assert (here.store.get_run("r-1"), here.store.audit_log.head()) == (before, entries)
    now = (await rest.get("/v1/runs/r-1")).headers["etag"]
    assert (await rest.post(f"/v1/runs/r-1/{verb}", headers={"if-match": f'"x", {now}'})).status_code == 200


async def test_if_match_that_is_no_tag_is_invalid_and_a_star_matches(
    rest: httpx.AsyncClient, here: World
) -> None:
    here.store.create_run("r-1", "demo", study_json())
    assert (await rest.post("/v1/runs/r-1/cancel", headers={"if-match": "abc"})).status_code == 422
    assert (await rest.post("/v1/runs/r-1/cancel", headers={"if-match": "*"})).status_code == 200


async def test_adapter_and_route_changes_expect_what_was_seen(rest: httpx.AsyncClient, here: World) -> None:
    add(here.store.registry, "a", "b", "c")
    adapter = await rest.get("/v1/adapters/a")
    here.store.registry.note("a", "somebody wrote a note")
    stale = {"if-match": adapter.headers["etag"]}
    for verb, body in (("approve", {}), ("reject", {"reason": "no"}), ("promote", {})):
        answer = await rest.post(f"/v1/adapters/a/{verb}", json=body, headers=stale)
        assert (answer.status_code, verb) == (412, verb)
    fresh = {"if-match": f'"{(await rest.get("/v1/adapters/a")).json()["adapter"]["etag"]}"'}
    promoted = await rest.post("/v1/adapters/a/promote", json={}, headers=fresh)
    assert promoted.json()["etag"] == "1"
    await rest.post("/v1/adapters/b/promote", json={})
    stale = {"if-match": '"1"'}
    answer = await rest.post("/v1/routes/valign/rollback", json={}, headers=stale)
    assert answer.status_code == 412
    answer = await rest.post("/v1/routes/valign/canary", json={"adapter": "c", "share": 0.1}, headers=stale)
    assert answer.status_code == 412
    route = await rest.get("/v1/routes/valign")
    answer = await rest.post(
        "/v1/routes/valign/rollback", json={}, headers={"if-match": route.headers["etag"]}
    )
    assert (answer.status_code, answer.json()["adapter"]) == (200, "a")


async def test_grpc_expects_the_same_by_a_field(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    here.store.create_run("r-1", "demo", study_json())
    add(here.store.registry, "a")
    seen = (await stub.GetRun(pb.GetRunRequest(run_id="r-1"))).run
    assert seen.etag == (await rest.get("/v1/runs/r-1")).json()["etag"]
    here.store.request_pause("r-1")
    for call in (
        stub.CancelRun(pb.CancelRunRequest(run_id="r-1", etag=seen.etag)),
        stub.ResumeRun(pb.ResumeRunRequest(run_id="r-1", etag=seen.etag)),
        stub.RejectAdapter(pb.RejectAdapterRequest(name="a", reason="no", etag="stale")),
        stub.PromoteAdapter(pb.PromoteAdapterRequest(name="a", etag="stale")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    now = (await rest.get("/v1/runs/r-1")).headers["etag"]
    await stub.CancelRun(pb.CancelRunRequest(run_id="r-1", etag=now))
    record = (await stub.GetAdapter(pb.GetAdapterRequest(name="a"))).adapter
    route = (await stub.PromoteAdapter(pb.PromoteAdapterRequest(name="a", etag=record.etag))).route
    assert route.etag == "1"
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.RollBackRoute(pb.RollBackRouteRequest(to="", etag="7"))
