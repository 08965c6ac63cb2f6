"""The value space over REST and gRPC: both say the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.api.middleware import MAX_BODY_BYTES
from tests.fulcra_shape import COMMON, labels_file

FILE = labels_file(160)
NDJSON = {"content-type": "application/x-ndjson"}


async def ended(rest: httpx.AsyncClient, location: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            job: dict[str, Any] = (await rest.get(location)).json()
            if job["state"] in ("succeeded", "failed"):
                return job
            await asyncio.sleep(0.02)


async def parts(request: Any, **first: Any) -> AsyncIterator[Any]:
    """The file in three messages; only the first has the options."""
    size = len(FILE) // 3 + 1
    for start in range(0, len(FILE), size):
        yield request(data=FILE[start : start + size], **(first if start == 0 else {}))


async def test_head_is_trained_over_rest_and_read_over_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    answer = await rest.post(
        "/v1/values/heads", params={"name": "mine", "seed": 3}, content=FILE, headers=NDJSON
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/values/heads/{job['id']}"
    job = await ended(rest, answer.headers["location"])
    assert (job["state"], job["error"], job["name"]) == ("succeeded", None, "mine")
    assert {one["value"] for one in job["agreement"] if one["status"] == "measured"} == set(COMMON)
    assert job["labels"]["rows"] == 320
    assert job["facts"]["seed"] == 3
    by_sha = (await rest.get(f"/v1/values/heads/{job['sha256']}")).json()
    assert by_sha["agreement"] == job["agreement"]
    told = (await stub.GetValuesHead(pb.GetValuesHeadRequest(id=job["id"]))).job
    plain = MessageToDict(told, preserving_proto_field_name=True)
    assert (told.sha256, told.state, told.kind) == (job["sha256"], "succeeded", "head")
    assert plain["agreement"] == job["agreement"]
    assert plain["labels"] == job["labels"]
    asset = (await rest.get(f"/v1/assets/{job['sha256']}")).json()
    assert (asset["kind"], asset["name"]) == ("values-head", "mine")


async def test_head_sent_over_grpc_in_parts_is_the_same_job(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    sent = await stub.TrainValuesHead(parts(pb.TrainValuesHeadRequest, name="mine", seed=3))
    answer = await rest.post("/v1/values/heads", params={"seed": 3}, content=FILE, headers=NDJSON)
    assert answer.json()["id"] == sent.job.id
    await ended(rest, answer.headers["location"])


async def test_judge_is_measured_over_both(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    options = {"limit": 20, "calibrate": "false"}
    answer = await rest.post("/v1/values/evaluations", params=options, content=FILE, headers=NDJSON)
    assert answer.status_code == 202, answer.text
    job = await ended(rest, answer.headers["location"])
    assert (job["state"], job["kind"], job["facts"]["calibrated"]) == ("succeeded", "judge", False)
    sent = await stub.EvaluateValuesJudge(parts(pb.EvaluateValuesJudgeRequest, limit=20, uncalibrated=True))
    assert sent.job.id == job["id"]
    told = await stub.GetValuesEvaluation(pb.GetValuesEvaluationRequest(id=job["id"]))
    assert told.job.sha256 == job["sha256"]


async def test_ten_values_are_told_alike(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    over_rest = (await rest.get("/v1/values")).json()
    over_grpc = MessageToDict((await stub.GetValues(pb.GetValuesRequest())).values)
    assert over_rest == over_grpc
    assert len(over_rest["values"]) == 10


@pytest.mark.parametrize("path", ["heads", "evaluations"])
async def test_file_that_cannot_be_used_is_refused_with_the_reason(
    rest: httpx.AsyncClient, path: str
) -> None:
    answer = await rest.post(f"/v1/values/{path}", content=b"no labels\n", headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")
    assert "1 not JSON" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["heads", "evaluations"])
async def test_file_larger_than_a_usual_body_is_taken(rest: httpx.AsyncClient, path: str) -> None:
    answer = await rest.post(f"/v1/values/{path}", content=b"x" * (MAX_BODY_BYTES + 1), headers=NDJSON)
    assert answer.json()["code"] == "INVALID_INPUT"


@pytest.mark.parametrize("path", ["heads", "evaluations"])
async def test_unknown_job_is_not_found(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, path: str
) -> None:
    assert (await rest.get(f"/v1/values/{path}/{'0' * 64}")).status_code == 404
    assert (await rest.get(f"/v1/values/{path}/nonsense")).status_code == 404
    call = {
        "heads": lambda: stub.GetValuesHead(pb.GetValuesHeadRequest(id="x")),
        "evaluations": lambda: stub.GetValuesEvaluation(pb.GetValuesEvaluationRequest(id="x")),
    }[path]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_options_out_of_range_are_refused_alike(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    answer = await rest.post("/v1/values/heads", params={"held_out": 0.9}, content=FILE, headers=NDJSON)
    assert answer.status_code == 422
    for options in ({"held_out": 0.9}, {"text": "thought"}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.TrainValuesHead(parts(pb.TrainValuesHeadRequest, **options))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
