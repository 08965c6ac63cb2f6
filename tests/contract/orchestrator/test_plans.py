"""Plans over both faces, and over the command line's own request."""

import json
from pathlib import Path

import httpx
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.fakes.orchestrator import world

STUDY = "name: demo\nprinciples_per_topic: 10\n"
CONFIG = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
}


async def test_plan_is_the_same_on_both_faces(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    asked = {"config": CONFIG, "device_memory_gib": 24.0, "gpus": 3}
    answer = await rest.post("/v1/plans", json={"study": STUDY, **asked})
    assert answer.status_code == 200, answer.text
    options = struct_pb2.Struct()
    options.update(asked)
    over_grpc = await stub.PlanStudy(pb.PlanStudyRequest(study=STUDY, options=options))
    assert MessageToDict(over_grpc.plan) == answer.json()
    assert answer.json()["fits"] is True
    assert answer.json()["stages"][0]["expected"]["completions"] == 120


@pytest.mark.parametrize("body", [{"study": "name: [\n"}, {"study": STUDY, "shape": "9b"}, {"shape": "8b"}])
async def test_plan_wrong_request_is_invalid(rest: httpx.AsyncClient, body: dict[str, str]) -> None:
    answer = await rest.post("/v1/plans", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


async def test_plan_takes_the_window_that_this_orchestrator_dispatches_by(tmp_path: Path) -> None:
    asked = {"study": STUDY, "shape": "8b", "device": "h100", "copies": 4, "replicas": 2}
    with world(tmp_path, generator_window=300) as made:
        found = await made.application.planner.plan(json.dumps(asked))
    assert any("is given 300 of a call" in said for said in found.assumptions)
