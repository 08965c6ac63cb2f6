"""Lists over both faces: filters, order, pages and what is refused."""

import json
from typing import Any

import grpc
import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.ports import RunStatus
from tests.fakes.orchestrator import World
from tests.fakes.studies import study_json


async def test_runs_filters_say_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    for number, name in enumerate(("a", "b", "a")):
        here.store.create_run(f"r-{number}", name, study_json())
    here.store.change_status("r-0", RunStatus.SUCCEEDED, "run.succeeded", {"decision": "hold"})
    moment = here.store.get_run("r-1").create_time
    reference = study_json()["reference_set"]["id"]
    later: dict[str, Any] = {}
    request = pb.ListRunsRequest()
    request.created_after.FromDatetime(moment)
    cases = (
        ({"name": "a"}, pb.ListRunsRequest(name="a"), ["r-2", "r-0"]),
        ({"verdict": "hold"}, pb.ListRunsRequest(verdict="hold"), ["r-0"]),
        ({"created_by": "nobody"}, pb.ListRunsRequest(created_by="nobody"), []),
        ({"created_after": moment.isoformat(), **later}, request, ["r-2", "r-1"]),
        ({"reference_set": reference}, pb.ListRunsRequest(reference_set=reference), ["r-2", "r-1", "r-0"]),
        ({"order_by": "create_time"}, pb.ListRunsRequest(order_by="create_time"), ["r-0", "r-1", "r-2"]),
    )
    for params, asked, expected in cases:
        over_http = (await rest.get("/v1/runs", params=params)).json()["runs"]
        over_grpc = (await stub.ListRuns(asked)).runs
        assert [run["run_id"] for run in over_http] == [run.run_id for run in over_grpc] == expected, params


@pytest.mark.parametrize(
    "params",
    [
        {"status": "gone"},
        {"verdict": "perhaps"},
        {"order_by": "name"},
        {"created_after": "yesterday"},
        {"created_after": "2026-11-21T00:00:00"},
        {"created_before": "0001-01-01T00:00:00+23:59"},
        {"page_size": 0},
        {"page_token": "nonsense"},
        {"name": "x" * 256},
    ],
)
async def test_runs_unknown_values_are_422_that_name_them(
    rest: httpx.AsyncClient, params: dict[str, Any]
) -> None:
    answer = await rest.get("/v1/runs", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")
    assert next(iter(params)) in answer.json()["detail"]


async def test_grpc_unknown_values_are_invalid(stub: OrchestratorServiceStub) -> None:
    bad = pb.ListRunsRequest()
    bad.created_after.seconds = 10**15
    for call in (
        stub.ListRuns(pb.ListRunsRequest(verdict="perhaps")),
        stub.ListRuns(pb.ListRunsRequest(order_by="name")),
        stub.ListRuns(pb.ListRunsRequest(name="x" * 256)),
        stub.ListRuns(bad),
        stub.ListAdapters(pb.ListAdaptersRequest(order_by="name")),
        stub.ListAssets(pb.ListAssetsRequest(page_token="x")),  # noqa: S106
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_token_with_other_filters_is_refused(rest: httpx.AsyncClient, here: World) -> None:
    for number in range(3):
        here.store.create_run(f"r-{number}", "a", study_json())
    token = (await rest.get("/v1/runs", params={"page_size": 1})).json()["next_page_token"]
    answer = await rest.get("/v1/runs", params={"page_token": token, "name": "a"})
    assert (answer.status_code, "other filters" in answer.json()["detail"]) == (422, True)


async def test_assets_keys_and_rulers_come_in_pages(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    for number in range(3):
        line = json.dumps({"question": f"{number} + 1 =", "choices": ["3", "4"], "answer": 1}) + "\n"
        await here.application.assets.put("task", f"t-{number}", line.encode())
        await rest.post("/v1/api-keys", json={"name": f"k-{number}", "scopes": ["read"]})
    for path, field, label in (("/v1/assets", "assets", "name"), ("/v1/api-keys", "api_keys", "name")):
        first = (await rest.get(path, params={"page_size": 2})).json()
        rest_of = (await rest.get(path, params={"page_token": first["next_page_token"]})).json()
        names = [one[label] for one in first[field] + rest_of[field]]
        assert [name[-1] for name in names] == ["2", "1", "0"]
        assert rest_of["next_page_token"] == ""
    page = await stub.ListApiKeys(pb.ListApiKeysRequest(page_size=2))
    assert len(page.api_keys) == 2
    assert len((await stub.ListApiKeys(pb.ListApiKeysRequest(page_token=page.next_page_token))).api_keys) == 1
    assert (await rest.get("/v1/rulers")).json() == {"rulers": [], "next_page_token": ""}


async def test_audit_log_filters_say_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    here.store.create_run("r-1", "a", study_json())
    here.store.request_cancel("r-1")
    for params, expected in (
        ({"action": "run.cancel"}, [2]),
        ({"actor": "nobody"}, []),
        ({"target": "r-1", "target_kind": "run"}, [1, 2]),
    ):
        lines = (await rest.get("/v1/audit-log", params=params)).text.splitlines()
        found = [line.split('"sequence":')[1].split(",")[0] for line in lines]
        parts = stub.ListAuditEntries(pb.ListAuditEntriesRequest(**params))
        over_grpc = [entry.sequence async for part in parts for entry in part.entries]
        assert [int(number) for number in found] == over_grpc == expected
