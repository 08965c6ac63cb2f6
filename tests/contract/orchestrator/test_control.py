"""Pausing, resuming and retrying say the same on both faces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.ports import RunStatus, StepRecord
from tests.fakes.orchestrator import World, world

STUDY = "name: demo\n"
STEPS = [StepRecord(1, "prepare"), StepRecord(2, "train_1", "INTERNAL")]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


async def _refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, str(caught.value.details())


async def test_pause_and_resume_over_either_face(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await rest.post("/v1/runs", content=STUDY)).json()["run_id"]
    paused = (await rest.post(f"/v1/runs/{run_id}/pause")).json()
    assert (paused["status"], paused["pause_requested"]) == ("queued", True)
    assert here.store.mark_paused(run_id)
    assert (await stub.GetRun(pb.GetRunRequest(run_id=run_id))).run.status == pb.RUN_STATUS_PAUSED
    resumed = (await stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id))).run
    assert (resumed.status, resumed.pause_requested) == (pb.RUN_STATUS_QUEUED, False)
    assert (await stub.PauseRun(pb.PauseRunRequest(run_id=run_id))).run.pause_requested
    assert (await rest.post(f"/v1/runs/{run_id}/resume")).json()["pause_requested"] is False


async def test_what_cannot_be_is_refused_in_the_same_words(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await rest.post("/v1/runs", content=STUDY)).json()["run_id"]
    refused = await rest.post(f"/v1/runs/{run_id}/resume")
    assert (refused.status_code, refused.json()["code"]) == (412, "PRECONDITION")
    code, words = await _refusal(stub.ResumeRun(pb.ResumeRunRequest(run_id=run_id)))
    assert (code, words) == ("FAILED_PRECONDITION", refused.json()["detail"])
    assert (await rest.post(f"/v1/runs/{run_id}/retry")).status_code == 412
    here.store.change_status(run_id, RunStatus.FAILED, "run.failed")
    assert (await rest.post(f"/v1/runs/{run_id}/pause")).status_code == 412
    here.steps.recorded[run_id] = STEPS
    refused = await rest.post(f"/v1/runs/{run_id}/retry", params={"from_step": "nowhere"})
    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_INPUT")
    assert "no step nowhere; it has: prepare, train_1" in refused.json()["detail"]
    code, words = await _refusal(stub.RetryRun(pb.RetryRunRequest(run_id=run_id, from_step="nowhere")))
    assert (code, words) == ("INVALID_ARGUMENT", refused.json()["detail"])


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
async def test_unknown_run_is_not_found(rest: httpx.AsyncClient, verb: str) -> None:
    for run_id in ("r-none", "%00"):
        assert (await rest.post(f"/v1/runs/{run_id}/{verb}")).status_code == 404


async def test_retry_begins_at_the_step_that_failed_or_the_one_named(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await rest.post("/v1/runs", content=STUDY)).json()["run_id"]
    here.steps.recorded[run_id] = STEPS
    here.store.change_status(run_id, RunStatus.FAILED, "run.failed", {}, error_code="INTERNAL")
    run = (await rest.post(f"/v1/runs/{run_id}/retry")).json()
    assert (run["status"], run["attempt"], run["end_time"], run["error"]) == ("queued", 2, None, None)
    assert here.store.get_run(run_id).retry_from == "train_1"
    here.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded")
    code, words = await _refusal(stub.RetryRun(pb.RetryRunRequest(run_id=run_id)))
    assert (code, "name the step" in words) == ("FAILED_PRECONDITION", True)
    again = (await stub.RetryRun(pb.RetryRunRequest(run_id=run_id, from_step="prepare"))).run
    assert (again.attempt, again.status) == (3, pb.RUN_STATUS_QUEUED)


async def test_steps_are_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await rest.post("/v1/runs", content=STUDY)).json()["run_id"]
    assert (await rest.get(f"/v1/runs/{run_id}/steps")).json() == {"steps": []}
    here.steps.recorded[run_id] = STEPS
    over_http = (await rest.get(f"/v1/runs/{run_id}/steps")).json()["steps"]
    over_grpc = (await stub.ListRunSteps(pb.ListRunStepsRequest(run_id=run_id))).steps
    assert over_http == [
        {"number": step.number, "name": step.name, "error_code": step.error_code} for step in over_grpc
    ]
    assert [step["error_code"] for step in over_http] == ["", "INTERNAL"]
