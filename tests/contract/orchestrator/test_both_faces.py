"""REST and gRPC say the same."""

import asyncio
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.api.convert import status_from_pb
from services.orchestrator.ports import RunStatus
from tests.fakes.orchestrator import World

STUDY = "name: demo\n"


def _as_rest(run: pb.Run) -> dict[str, Any]:
    """The fields that both faces have."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "status": pb.RunStatus.Name(run.status).removeprefix("RUN_STATUS_").lower(),
        "stage": run.stage,
        "identity": run.identity,
    }


async def _code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


def test_every_status_has_a_number_and_back() -> None:
    numbers = [value for name, value in pb.RunStatus.items() if name != "RUN_STATUS_UNSPECIFIED"]
    assert {status_from_pb(number) for number in numbers} == set(RunStatus)
    assert status_from_pb(pb.RUN_STATUS_UNSPECIFIED) is None


async def test_check_study_says_the_same(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    over_http = (await rest.post("/v1/studies/check", content=STUDY)).json()
    over_grpc = await stub.CheckStudy(pb.CheckStudyRequest(study=STUDY))
    assert MessageToDict(over_grpc)["study"] == over_http
    bad = "name: demo\nx: 1\n"
    assert (await rest.post("/v1/studies/check", content=bad)).json()["detail"] in await _detail(stub, bad)


async def _detail(stub: OrchestratorServiceStub, study: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CheckStudy(pb.CheckStudyRequest(study=study))
    return str(caught.value.details())


async def test_run_begun_on_one_face_is_seen_and_cancelled_on_the_other(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    run = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY, idempotency_key="k"))).run
    over_http = await rest.post("/v1/runs", content=STUDY, headers={"idempotency-key": "k"})
    assert over_http.status_code == 200
    assert _as_rest(run).items() <= over_http.json().items()
    cancelled = (await stub.CancelRun(pb.CancelRunRequest(run_id=run.run_id))).run
    seen = (await rest.get(f"/v1/runs/{run.run_id}")).json()
    assert _as_rest(cancelled).items() <= seen.items()
    assert seen["status"] == "cancelled"
    assert cancelled.HasField("end_time")
    assert not run.HasField("end_time")


async def test_list_runs_pages_are_the_same_and_tokens_interchange(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    for number in range(5):
        here.store.create_run(f"r-{number}", "demo", {})
    first = await stub.ListRuns(pb.ListRunsRequest(page_size=2))
    params = {"page_size": 2, "page_token": first.next_page_token}
    second = (await rest.get("/v1/runs", params=params)).json()
    third = await stub.ListRuns(pb.ListRunsRequest(page_size=2, page_token=second["next_page_token"]))
    ids = [run.run_id for run in first.runs] + [run["run_id"] for run in second["runs"]]
    assert ids + [run.run_id for run in third.runs] == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert third.next_page_token == ""
    everything = await stub.ListRuns(pb.ListRunsRequest(page_size=2**32 - 1))
    assert len(everything.runs) == len((await stub.ListRuns(pb.ListRunsRequest())).runs) == 5
    running = await stub.ListRuns(pb.ListRunsRequest(status=pb.RUN_STATUS_RUNNING))
    assert len(running.runs) == 0


async def test_bad_requests_over_grpc_have_their_codes(stub: OrchestratorServiceStub) -> None:
    missing = grpc.StatusCode.NOT_FOUND
    for run_id in ("", "r-none", "运行", "\x00"):
        assert await _code(stub.GetRun(pb.GetRunRequest(run_id=run_id))) is missing
        assert await _code(stub.CancelRun(pb.CancelRunRequest(run_id=run_id))) is missing
        assert await _code(stub.GetReport(pb.GetReportRequest(run_id=run_id))) is missing
        assert await _code(stub.WatchRun(pb.WatchRunRequest(run_id=run_id)).read()) is missing
    assert await _code(stub.GetReferenceSet(pb.GetReferenceSetRequest(id="none"))) is missing
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert await _code(stub.ListRuns(pb.ListRunsRequest(page_token="x"))) is invalid  # noqa: S106
    assert await _code(stub.ListRuns(pb.ListRunsRequest(status=99))) is invalid
    assert await _code(stub.CreateRun(pb.CreateRunRequest(study=""))) is invalid
    long_key = pb.CreateRunRequest(study=STUDY, idempotency_key="x" * 256)
    assert await _code(stub.CreateRun(long_key)) is invalid
    assert await _code(stub.CheckReferenceSet(pb.CheckReferenceSetRequest(reference_set="a"))) is invalid
    watch = pb.WatchRunRequest(run_id="r-1", after=2**64 - 1)
    assert await _code(stub.WatchRun(watch).read()) is invalid


async def test_watch_run_streams_the_same_events(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id

    async def watch(after: int = 0) -> list[pb.WatchRunResponse]:
        return [event async for event in stub.WatchRun(pb.WatchRunRequest(run_id=run_id, after=after))]

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.2)
    here.store.add_event(run_id, "topic.means", {"means": {"健康": 0.25, "x": float("inf")}})
    here.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded")
    events = await asyncio.wait_for(watching, 15)
    assert [event.number for event in events] == [1, 2, 3]
    assert MessageToDict(events[1].data) == {"means": {"健康": 0.25, "x": None}}
    assert [event.number for event in await watch(after=2)] == [3]
    page = await rest.get(f"/v1/runs/{run_id}/events")
    kinds = [line.split(": ")[1] for line in page.text.splitlines() if line.startswith("event: ")]
    assert kinds == [event.kind for event in events]


async def test_watch_run_caller_that_leaves_frees_the_watch(
    stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id
    call = stub.WatchRun(pb.WatchRunRequest(run_id=run_id))
    await call.read()
    assert len(here.store._listeners) == 1
    call.cancel()
    for _ in range(100):
        if not here.store._listeners:
            break
        await asyncio.sleep(0.05)
    assert not here.store._listeners


async def test_events_caller_that_leaves_frees_the_watch(rest: httpx.AsyncClient, here: World) -> None:
    run_id = (await rest.post("/v1/runs", content=STUDY)).json()["run_id"]
    async with rest.stream("GET", f"/v1/runs/{run_id}/events") as answer:
        await anext(answer.aiter_lines())
        assert len(here.store._listeners) == 1
    for _ in range(100):
        if not here.store._listeners:
            break
        await asyncio.sleep(0.05)
    assert not here.store._listeners


async def test_report_and_reference_sets_are_the_same(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id
    report = here.artifacts.put_bytes("r.json", b'{"schema_version": "1.0", "topics": [{"before": 0.5}]}')
    here.store.update_run(run_id, report_uri=report.uri)
    over_grpc = await stub.GetReport(pb.GetReportRequest(run_id=run_id))
    assert MessageToDict(over_grpc)["report"] == (await rest.get(f"/v1/runs/{run_id}/report")).json()
    listed = await stub.ListReferenceSets(pb.ListReferenceSetsRequest())
    over_http = (await rest.get("/v1/reference-sets")).json()["reference_sets"]
    assert [item.id for item in listed.reference_sets] == [item["id"] for item in over_http]
    one = await stub.GetReferenceSet(pb.GetReferenceSetRequest(id=listed.reference_sets[0].id))
    path = f"/v1/reference-sets/{listed.reference_sets[0].id}"
    assert MessageToDict(one)["referenceSet"] == (await rest.get(path)).json()
