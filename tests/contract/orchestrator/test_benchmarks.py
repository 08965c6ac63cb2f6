"""Comparisons and rulers over REST and gRPC, over real servers and real evidence."""

from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.analysis.files import pack_evidence
from services.orchestrator.ports import RunStatus
from services.orchestrator.report.schema import Provenance
from tests.bundles import completions_of, report_of
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World

OTHER_ENCODER = {"encoder_fingerprint": "f" * 64}


def add_run(here: World, run_id: str, provenance: dict[str, Any] | None = None, **options: Any) -> None:
    """A run that has succeeded, with its evidence and report in the store."""
    evidence = make_evidence(2, 8, 2, **{"second": False, "measure_only": True, **options})
    packed = here.artifacts.put_bytes(f"runs/{run_id}/evidence.zip", pack_evidence(evidence))
    place = {"uri": packed.uri, "sha256": packed.sha256}
    made = report_of(run_id, evidence, completions_of(evidence), place)
    changed = {**made.provenance.model_dump(), "model_fingerprint": "a" * 64, **(provenance or {})}
    report = made.model_copy(update={"provenance": Provenance(**changed)})
    here.store.create_run(run_id, evidence.study["name"], evidence.study)
    stored = here.artifacts.put_bytes(f"runs/{run_id}/report.json", report.to_json().encode())
    here.store.update_run(run_id, status=RunStatus.SUCCEEDED, report_uri=stored.uri)


async def _refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, str(caught.value.details())


async def test_compare_says_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add_run(here, "r-1")
    add_run(here, "r-2", {"model_fingerprint": "b" * 64})
    body = {"run_ids": ["r-2", "r-1"]}
    answer = await rest.post("/v1/compare", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert [run["run_id"] for run in found["runs"]] == ["r-2", "r-1"]
    assert found["kind"] == "models"
    assert found["paired"][0]["difference"]["value"] == 0.0
    over_grpc = await stub.CompareRuns(pb.CompareRunsRequest(run_ids=body["run_ids"]))
    assert MessageToDict(over_grpc.comparison) == found
    page = await rest.post("/v1/compare.html", json=body)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    html = await stub.CompareRunsHtml(pb.CompareRunsHtmlRequest(run_ids=body["run_ids"]))
    assert html.html == page.text
    assert "that it wrote itself" in page.text


async def test_compare_runs_that_cannot_be_compared_is_412_with_every_reason(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add_run(here, "r-1")
    add_run(here, "r-2", OTHER_ENCODER)
    for path in ("/v1/compare", "/v1/compare.html"):
        answer = await rest.post(path, json={"run_ids": ["r-1", "r-2"]})
        assert (answer.status_code, answer.json()["code"]) == (412, "PRECONDITION")
        assert "different encoders" in answer.json()["detail"]
    code, detail = await _refusal(stub.CompareRuns(pb.CompareRunsRequest(run_ids=["r-1", "r-2"])))
    assert code == "FAILED_PRECONDITION"
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize(
    ("ids", "status", "code"),
    [
        (["r-1"], 422, "INVALID_ARGUMENT"),
        ([], 422, "INVALID_ARGUMENT"),
        (["r-1", "r-1"], 422, "INVALID_ARGUMENT"),
        (["r-1", "r-none"], 404, "NOT_FOUND"),
        (["r-1", ".."], 404, "NOT_FOUND"),
    ],
)
async def test_compare_wrong_ids_are_refused_alike(
    rest: httpx.AsyncClient,
    stub: OrchestratorServiceStub,
    here: World,
    ids: list[str],
    status: int,
    code: str,
) -> None:
    add_run(here, "r-1")
    answer = await rest.post("/v1/compare", json={"run_ids": ids})
    refusal = await _refusal(stub.CompareRuns(pb.CompareRunsRequest(run_ids=ids)))
    assert (answer.status_code, refusal[0]) == (status, code)
    assert answer.json()["detail"] == refusal[1]


async def test_compare_damaged_evidence_is_told(rest: httpx.AsyncClient, here: World) -> None:
    add_run(here, "r-1")
    add_run(here, "r-2")
    here.artifacts.put_bytes("runs/r-2/evidence.zip", b"changed")
    answer = await rest.post("/v1/compare", json={"run_ids": ["r-1", "r-2"]})
    assert (answer.status_code, answer.json()["code"]) == (412, "PRECONDITION")
    assert "damaged" in answer.json()["detail"]


async def test_freeze_and_list_rulers_say_the_same_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add_run(here, "r-1")
    assert (await rest.get("/v1/rulers")).json() == {"rulers": [], "next_page_token": ""}
    made = await rest.post("/v1/rulers", json={"run_id": "r-1", "name": "bench"})
    assert made.status_code == 201
    ruler = made.json()
    assert (ruler["run_id"], ruler["model"], ruler["inputs"], len(ruler["sha256"])) == (
        "r-1",
        "test-model",
        16,
        64,
    )
    again = await stub.FreezeRuler(pb.FreezeRulerRequest(run_id="r-1", name="bench"))
    listed = (await rest.get("/v1/rulers")).json()["rulers"]
    assert listed == [ruler]
    over_grpc = (await stub.ListRulers(pb.ListRulersRequest())).rulers
    plain = [MessageToDict(one, preserving_proto_field_name=True) for one in (again.ruler, *over_grpc)]
    assert plain[0] == plain[1]
    assert {**plain[1], "size_bytes": int(plain[1]["size_bytes"])} == ruler
    study = {"name": "by-ruler", "ruler": ruler["sha256"]}
    assert (await rest.post("/v1/studies/check", json=study)).status_code == 200
    unknown = await rest.post("/v1/studies/check", json={**study, "ruler": "0" * 64})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["path"] == "ruler"


async def test_freeze_what_is_no_finished_run_or_no_name_is_refused(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add_run(here, "r-1")
    run_id = (await rest.post("/v1/runs", content="name: demo\n")).json()["run_id"]
    for given, name, status in (
        (run_id, "a", 404),
        ("r-none", "a", 404),
        ("r-1", "Not a name", 422),
        ("r-1", "", 422),
    ):
        answer = await rest.post("/v1/rulers", json={"run_id": given, "name": name})
        assert answer.status_code == status, answer.text
        _, detail = await _refusal(stub.FreezeRuler(pb.FreezeRulerRequest(run_id=given, name=name)))
        assert detail == answer.json()["detail"]
