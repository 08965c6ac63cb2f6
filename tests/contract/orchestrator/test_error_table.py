"""Every error code of the table, raised through a real HTTP server and a real gRPC server."""

import json

import grpc
import httpx
import pytest

from services.common.errors import ErrorCode, error_for
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.common.rpc.client import as_valign_error
from tests.fakes.orchestrator import World

# Written out, not read from the code: this is the contract.
TABLE = {
    "INVALID_INPUT": (422, "INVALID_ARGUMENT", False),
    "UNAUTHENTICATED": (401, "UNAUTHENTICATED", False),
    "FORBIDDEN": (403, "PERMISSION_DENIED", False),
    "NOT_FOUND": (404, "NOT_FOUND", False),
    "CONFLICT": (409, "ALREADY_EXISTS", False),
    "PRECONDITION": (412, "FAILED_PRECONDITION", False),
    "OVERLOADED": (429, "RESOURCE_EXHAUSTED", True),
    "NOT_READY": (503, "UNAVAILABLE", True),
    "TIMEOUT": (504, "DEADLINE_EXCEEDED", True),
    "CANCELLED": (499, "CANCELLED", False),
    "INTERNAL": (500, "INTERNAL", False),
}
STUDY = "name: demo\n"
FAULTS = [{"line": 3, "column": 1, "path": "seed", "message": "why é"}]


def test_table_covers_every_code() -> None:
    assert set(TABLE) == {code.value for code in ErrorCode}


@pytest.mark.parametrize("code", TABLE)
def test_code_maps_as_the_table_says(code: str) -> None:
    status, grpc_status, retryable = TABLE[code]
    assert ErrorCode(code).http_status == status
    assert ErrorCode(code).grpc_status == grpc_status
    assert ErrorCode(code).retryable is retryable


@pytest.mark.parametrize("code", TABLE)
async def test_code_over_http_is_its_problem_document(
    rest: httpx.AsyncClient, here: World, code: str
) -> None:
    here.queue.error = error_for(code, "what is wrong: é", {"errors": FAULTS})
    answer = await rest.post("/v1/runs", content=STUDY, headers={"x-request-id": "req-1"})
    assert answer.status_code == TABLE[code][0]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "req-1"
    assert ("retry-after" in answer.headers) is (code in ("OVERLOADED", "NOT_READY"))
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert (body["status"], body["code"], body["request_id"]) == (TABLE[code][0], code, "req-1")
    assert body["type"] == f"urn:valign:error:{code.lower().replace('_', '-')}"
    if code == "INTERNAL":
        assert body["detail"] == "internal error; the log has the trace under request id req-1"
        assert body["errors"] == []
    else:
        assert body["detail"] == "what is wrong: é"
        assert body["errors"] == FAULTS


@pytest.mark.parametrize("code", TABLE)
async def test_code_over_grpc_is_its_status_with_trailers(
    stub: OrchestratorServiceStub, here: World, code: str
) -> None:
    here.queue.error = error_for(code, "what is wrong: é", {"errors": FAULTS})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateRun(pb.CreateRunRequest(study=STUDY), metadata=(("valign-request-id", "req-1"),))
    error = caught.value
    assert error.code().name == TABLE[code][1]
    trailers = dict(error.trailing_metadata())
    assert trailers["valign-error-code"] == code
    assert trailers["valign-request-id"] == "req-1"
    assert json.loads(trailers["valign-error-details-bin"]) == {"errors": FAULTS}
    back = as_valign_error(error)
    assert (back.code, back.details) == (ErrorCode(code), {"errors": FAULTS})


async def test_unexpected_error_over_both_is_internal_with_fixed_text(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    here.queue.error = RuntimeError("secret")
    answer = await rest.post("/v1/runs", content=STUDY)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    here.queue.error = RuntimeError("secret")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateRun(pb.CreateRunRequest(study=STUDY))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert dict(caught.value.trailing_metadata())["valign-error-code"] == "INTERNAL"
