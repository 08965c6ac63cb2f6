"""Whatever REST offers, gRPC offers too, and says the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fastapi.routing import APIRoute
from google.protobuf.json_format import MessageToDict

from services.common.errors import NotReadyError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import (
    OrchestratorServiceServicer,
    OrchestratorServiceStub,
)
from services.orchestrator.api import OrchestratorServicer, build_http_app
from services.orchestrator.looks import ServiceFacts
from services.orchestrator.ports import CompletionRecord, RunStatus
from tests.contract.orchestrator.times import with_times
from tests.fakes.orchestrator import World, world

STUDY = "name: demo\n"
# Written out, not read from the code: this is the contract. A new route names its rpc here.
RPC_OF_ROUTE = {
    "POST /v1/studies/check": "CheckStudy",
    "POST /v1/plans": "PlanStudy",
    "GET /v1/studies/shipped": "ListShippedStudies",
    "GET /v1/studies/shipped/{study_id}": "GetShippedStudy",
    "POST /v1/runs": "CreateRun",
    "GET /v1/runs": "ListRuns",
    "GET /v1/runs/{run_id}": "GetRun",
    "POST /v1/runs/{run_id}/cancel": "CancelRun",
    "POST /v1/runs/{run_id}/pause": "PauseRun",
    "POST /v1/runs/{run_id}/resume": "ResumeRun",
    "POST /v1/runs/{run_id}/retry": "RetryRun",
    "GET /v1/runs/{run_id}/steps": "ListRunSteps",
    "GET /v1/runs/{run_id}/events": "WatchRun",
    "GET /v1/runs/{run_id}/report": "GetReport",
    "GET /v1/runs/{run_id}/report.html": "GetReportHtml",
    "GET /v1/runs/{run_id}/principles": "ListPrinciples",
    "GET /v1/runs/{run_id}/bundle": "GetBundle",
    "GET /v1/runs/{run_id}/model-card": "GetModelCard",
    "GET /v1/reference-sets": "ListReferenceSets",
    "GET /v1/reference-sets/{set_id}": "GetReferenceSet",
    "POST /v1/reference-sets/check": "CheckReferenceSet",
    "POST /v1/reference-sets/diff": "DiffReferenceSets",
    "GET /v1/prompt-sets": "ListPromptSets",
    "GET /v1/prompt-sets/{set_id}": "GetPromptSet",
    "POST /v1/assets": "AddAsset",
    "GET /v1/assets": "ListAssets",
    "GET /v1/assets/{sha256}": "GetAsset",
    "GET /v1/assets/{sha256}/content": "GetAssetContent",
    "POST /v1/compare": "CompareRuns",
    "POST /v1/compare.html": "CompareRunsHtml",
    "POST /v1/rulers": "FreezeRuler",
    "GET /v1/rulers": "ListRulers",
    "GET /v1/values": "GetValues",
    "POST /v1/values/heads": "TrainValuesHead",
    "GET /v1/values/heads/{head_id}": "GetValuesHead",
    "POST /v1/values/evaluations": "EvaluateValuesJudge",
    "GET /v1/values/evaluations/{evaluation_id}": "GetValuesEvaluation",
    "GET /v1/adapters": "ListAdapters",
    "POST /v1/adapters/prune": "PruneAdapters",
    "GET /v1/adapters/{name}": "GetAdapter",
    "POST /v1/adapters/{name}/approve": "ApproveAdapter",
    "POST /v1/adapters/{name}/reject": "RejectAdapter",
    "POST /v1/adapters/{name}/promote": "PromoteAdapter",
    "GET /v1/routes": "ListRoutes",
    "GET /v1/routes/{name}": "GetRoute",
    "POST /v1/routes/{name}/canary": "SetCanary",
    "POST /v1/routes/{name}/rollback": "RollBackRoute",
    "GET /v1/audit-log": "ListAuditEntries",
    "GET /v1/audit-log/verify": "VerifyAuditLog",
    "GET /v1/system": "GetSystem",
    "POST /v1/api-keys": "CreateApiKey",
    "GET /v1/api-keys": "ListApiKeys",
    "POST /v1/api-keys/{key_id}/revoke": "RevokeApiKey",
    "GET /v1/caller": "GetCaller",
    "POST /v1/webhooks": "CreateWebhook",
    "GET /v1/webhooks": "ListWebhooks",
    "GET /v1/webhooks/{webhook_id}": "GetWebhook",
    "PATCH /v1/webhooks/{webhook_id}": "UpdateWebhook",
    "DELETE /v1/webhooks/{webhook_id}": "DeleteWebhook",
    "POST /v1/webhooks/{webhook_id}/rotate-secret": "RotateWebhookSecret",
    "POST /v1/webhooks/{webhook_id}/test": "TestWebhook",
    "GET /v1/webhooks/{webhook_id}/deliveries": "ListWebhookDeliveries",
    "POST /v1/webhooks/{webhook_id}/replay": "ReplayWebhookDeliveries",
    "GET /v1/event-types": "ListEventTypes",
    "GET /v1/event-types/{type}": "GetEventType",
    "POST /v1/monitors": "CreateMonitor",
    "GET /v1/monitors": "ListMonitors",
    "GET /v1/monitors/{monitor_id}": "GetMonitor",
    "DELETE /v1/monitors/{monitor_id}": "DeleteMonitor",
    "POST /v1/monitors/{monitor_id}/pause": "PauseMonitor",
    "POST /v1/monitors/{monitor_id}/resume": "ResumeMonitor",
    "POST /v1/monitors/{monitor_id}/measure": "MeasureMonitor",
    "GET /v1/monitors/{monitor_id}/measurements": "ListMeasurements",
    "GET /v1/monitors/{monitor_id}/measurements/{number}": "GetMeasurement",
    "GET /v1/monitors/{monitor_id}/alarms": "ListMonitorAlarms",
    "GET /v1/monitors/{monitor_id}/samples": "ListMonitorSamples",
    "POST /v1/monitors/{monitor_id}/alarms/{number}/acknowledge": "AcknowledgeMonitorAlarm",
    "POST /v1/reviews": "CreateReview",
    "GET /v1/reviews": "ListReviews",
    "GET /v1/reviews/{review_id}": "GetReview",
    "POST /v1/reviews/{review_id}/next": "NextReviewItem",
    "GET /v1/reviews/{review_id}/items": "ListReviewItems",
    "PUT /v1/reviews/{review_id}/items/{number}/rating": "RateReviewItem",
    "PUT /v1/reviews/{review_id}/items/{number}/flag": "FlagReviewItem",
    "POST /v1/reviews/{review_id}/close": "CloseReview",
    "GET /v1/reviews/{review_id}/results": "GetReviewResults",
    "GET /v1/reviews/{review_id}/export": "ExportReview",
}
WHY_NO_RPC = {
    "GET /healthz": "the process that answers grpc.health.v1 is alive",
    "GET /readyz": "grpc.health.v1.Health/Check says SERVING or NOT_SERVING",
    "GET /metrics": "Prometheus reads HTTP",
    "GET /openapi.json": "server reflection describes the gRPC face",
    "GET /": "the web page is for browsers",
    "GET /web/{version}/{name:path}": "a file of the web page",
}


@dataclass(frozen=True, slots=True)
class _Probe:
    """A service that answers with facts, or is away."""

    name: str
    facts: ServiceFacts | None
    target: str = "127.0.0.1:1"

    async def look(self) -> ServiceFacts:
        if self.facts is None:
            raise NotReadyError("no connection")
        return self.facts


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """An application with a service that serves, one that starts and one that is away."""
    probes = [
        _Probe("generator", ServiceFacts(True, "a model", "ab" * 32, "0.32.0", "cpu")),
        _Probe("embedder", ServiceFacts(False)),
        _Probe("trainer", None),
    ]
    with world(tmp_path, probes) as made:
        yield made


def _plain(message: Any) -> dict[str, Any]:
    """The message as REST would spell it (64-bit integers as text)."""
    plain: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return plain


async def _refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, str(caught.value.details())


async def _principles(stub: OrchestratorServiceStub, **request: str) -> list[list[dict[str, Any]]]:
    answer = stub.ListPrinciples(pb.ListPrinciplesRequest(**request))
    return [_plain(part)["principles"] async for part in answer]


def test_every_route_has_its_rpc_or_says_why_it_has_none(here: World) -> None:
    routes = {
        f"{method} {route.path}"  # type: ignore[attr-defined]
        for route in build_http_app(here.application).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert routes == set(RPC_OF_ROUTE) | set(WHY_NO_RPC)
    assert not set(RPC_OF_ROUTE) & set(WHY_NO_RPC)


def test_every_rpc_is_that_of_a_route_and_is_answered(here: World) -> None:
    rpcs = [method.name for method in pb.DESCRIPTOR.services_by_name["OrchestratorService"].methods]
    assert sorted(RPC_OF_ROUTE.values()) == sorted(rpcs)
    # A method that the servicer leaves to the generated class answers UNIMPLEMENTED.
    left = [
        rpc for rpc in rpcs if getattr(OrchestratorServicer, rpc) is getattr(OrchestratorServiceServicer, rpc)
    ]
    assert left == []
    own = [cls for cls in OrchestratorServicer.__mro__ if not cls.__module__.endswith("_pb2_grpc")]
    assert set(rpcs) <= {name for cls in own for name in vars(cls)}


def test_rpcs_are_named_like_the_operations_of_openapi(here: World) -> None:
    named = {
        f"{method} {route.path}": route.operation_id
        for route in build_http_app(here.application).routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert {
        route: name[:1].lower() + name[1:] for route, name in RPC_OF_ROUTE.items()
    }.items() <= named.items()


async def test_run_has_every_field_on_both_faces(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    begun = await stub.CreateRun(pb.CreateRunRequest(study=STUDY, idempotency_key="k"))
    again = await stub.CreateRun(pb.CreateRunRequest(study=STUDY, idempotency_key="k"))
    assert (begun.created, again.created) == (True, False)
    run_id = begun.run.run_id
    here.store.add_event(run_id, "stage.progress", {"stage": "uncover", "done": 1, "total": 4})
    here.store.request_cancel(run_id)
    here.store.change_status(
        run_id, RunStatus.FAILED, "run.failed", {}, error_code="PRECONDITION", error_message="why"
    )
    run = (await stub.GetRun(pb.GetRunRequest(run_id=run_id))).run
    over_http = (await rest.get(f"/v1/runs/{run_id}")).json()
    over_grpc = {
        **_plain(run),
        "status": pb.RunStatus.Name(run.status).removeprefix("RUN_STATUS_").lower(),
        "error": {"code": run.error_code, "message": run.error_message},
        "progress": {name: {"done": step.done, "total": step.total} for name, step in run.progress.items()},
    }
    assert over_grpc.pop("error_code") == "PRECONDITION"
    assert over_grpc.pop("error_message") == "why"
    assert with_times(over_grpc) == with_times(over_http)
    assert over_http["cancel_requested"] is True
    assert over_http["progress"] == {"uncover": {"done": 1, "total": 4}}


async def test_list_principles_same_sentences_and_filters(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id
    assert await _principles(stub, run_id=run_id) == []
    records = [
        CompletionRecord(arm, topic, index, 1, "text", f"خير {index}", "ok", "stop", 1, adapter, adapter)
        for arm, adapter in (("original", ""), ("realigned-i1", "an-adapter"))
        for topic in ("education", "健康")
        for index in range(100)
    ]
    here.store.add_completions(run_id, records)
    unusable = CompletionRecord("original", "education", 200, 0, "text", "", "empty", "stop", 1, "", "")
    here.store.add_completions(run_id, [unusable])
    for chosen, expected in (
        ({}, 400),
        ({"arm": "original"}, 200),
        ({"topic": "健康"}, 200),
        ({"arm": "realigned-i1", "topic": "education"}, 100),
        ({"arm": "aligned"}, 0),
    ):
        over_http = (await rest.get(f"/v1/runs/{run_id}/principles", params=chosen)).json()["principles"]
        parts = await _principles(stub, run_id=run_id, **chosen)
        assert [item for part in parts for item in part] == over_http
        assert len(over_http) == expected
        assert all(0 < len(part) <= 256 for part in parts)


async def test_list_principles_parts_stay_small(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id
    sentence = "x" * 100_000
    here.store.add_completions(
        run_id,
        [
            CompletionRecord("original", "t", index, 0, "", sentence, "ok", "stop", 1, "", "")
            for index in range(25)
        ],
    )
    answer = stub.ListPrinciples(pb.ListPrinciplesRequest(run_id=run_id))
    sizes_bytes = [part.ByteSize() async for part in answer]
    assert len(sizes_bytes) == 3
    assert max(sizes_bytes) < 1.1 * 2**20


async def test_report_html_is_the_same_page(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    run_id = (await stub.CreateRun(pb.CreateRunRequest(study=STUDY))).run.run_id
    early = await _refusal(stub.GetReportHtml(pb.GetReportHtmlRequest(run_id=run_id)))
    answer = await rest.get(f"/v1/runs/{run_id}/report.html")
    assert (answer.status_code, early[0]) == (404, "NOT_FOUND")
    assert answer.json()["detail"] in early[1]
    # Larger than the 4 MiB that gRPC takes unless it is told otherwise.
    page = "<!doctype html><p>قيم 健康 😀</p>" + "x" * (5 * 2**20)
    here.store.update_run(run_id, report_html_uri=here.artifacts.put_bytes("r.html", page.encode()).uri)
    over_grpc = await stub.GetReportHtml(pb.GetReportHtmlRequest(run_id=run_id))
    assert over_grpc.html == page == (await rest.get(f"/v1/runs/{run_id}/report.html")).text


async def test_packaged_data_is_the_same(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    reference_sets = _plain(await stub.ListReferenceSets(pb.ListReferenceSetsRequest()))
    assert reference_sets == (await rest.get("/v1/reference-sets")).json()
    prompt_sets = _plain(await stub.ListPromptSets(pb.ListPromptSetsRequest()))
    assert prompt_sets == (await rest.get("/v1/prompt-sets")).json()
    assert len(prompt_sets["prompt_sets"]) >= 2
    for item in prompt_sets["prompt_sets"]:
        one = await stub.GetPromptSet(pb.GetPromptSetRequest(id=item["id"]))
        assert MessageToDict(one.prompt_set) == (await rest.get(f"/v1/prompt-sets/{item['id']}")).json()
    studies = _plain(await stub.ListShippedStudies(pb.ListShippedStudiesRequest()))
    assert studies == (await rest.get("/v1/studies/shipped")).json()
    assert "demo" in [item["id"] for item in studies["studies"]]
    for item in studies["studies"]:
        study = (await stub.GetShippedStudy(pb.GetShippedStudyRequest(id=item["id"]))).study
        assert study == (await rest.get(f"/v1/studies/shipped/{item['id']}")).text
        await stub.CheckStudy(pb.CheckStudyRequest(study=study))


@pytest.mark.parametrize(
    "text",
    [
        '{\n\t"name":\t"demo"\n}',
        '{"name": "demo", "seed": 1}',
        '{"name": "demo", "topics": "\\ud83d\\ude00"}',
    ],
)
async def test_json_documents_are_read_the_same(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, text: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = await rest.post("/v1/studies/check", content=text, headers=headers)
    if answer.status_code == 200:
        over_grpc = await stub.CheckStudy(pb.CheckStudyRequest(study=text))
        assert MessageToDict(over_grpc.study) == answer.json()
        assert (await stub.CreateRun(pb.CreateRunRequest(study=text))).created
    else:
        code, detail = await _refusal(stub.CheckStudy(pb.CheckStudyRequest(study=text)))
        assert (answer.status_code, code) == (422, "INVALID_ARGUMENT")
        assert answer.json()["detail"] in detail


@pytest.mark.parametrize("text", ["{name: demo}", '{"name": "demo", "seed": NaN}', "{", "x" * 300_000])
async def test_text_that_is_no_json_is_read_as_yaml(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, text: str
) -> None:
    answer = await rest.post("/v1/studies/check", content=text)
    if answer.status_code == 200:
        await stub.CheckStudy(pb.CheckStudyRequest(study=text))
    else:
        assert (
            answer.json()["detail"] in (await _refusal(stub.CheckStudy(pb.CheckStudyRequest(study=text))))[1]
        )


async def test_check_reference_set_says_the_same(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    for text in ("", "a", "id: own\n", "id: [\n"):
        answer = await rest.post("/v1/reference-sets/check", content=text)
        refusal = await _refusal(stub.CheckReferenceSet(pb.CheckReferenceSetRequest(reference_set=text)))
        assert (answer.status_code, refusal[0]) == (422, "INVALID_ARGUMENT")
        assert answer.json()["detail"] in refusal[1]


async def test_get_system_says_the_same(rest: httpx.AsyncClient, stub: OrchestratorServiceStub) -> None:
    over_http = (await rest.get("/v1/system")).json()["services"]
    over_grpc = _plain(await stub.GetSystem(pb.GetSystemRequest()))["services"]
    answered = [True, True, False]
    assert [item.pop("latency_s") is not None for item in over_http] == answered
    assert [item.pop("latency_s", -1) >= 0 for item in over_grpc] == answered
    assert over_grpc == over_http
    assert [item["serving"] for item in over_grpc] == [True, False, False]
    assert over_grpc[2]["error"] == "no connection"


@pytest.mark.parametrize("name", ["none", "运行", "..", "x" * 300])
async def test_unknown_names_are_not_found_on_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, name: str
) -> None:
    for path, call in (
        (f"/v1/runs/{name}/report.html", stub.GetReportHtml(pb.GetReportHtmlRequest(run_id=name))),
        (f"/v1/runs/{name}/principles", stub.ListPrinciples(pb.ListPrinciplesRequest(run_id=name)).read()),
        (f"/v1/prompt-sets/{name}", stub.GetPromptSet(pb.GetPromptSetRequest(id=name))),
        (f"/v1/studies/shipped/{name}", stub.GetShippedStudy(pb.GetShippedStudyRequest(id=name))),
    ):
        answer = await rest.get(path)
        code, detail = await _refusal(call)
        assert (answer.status_code, answer.json()["code"], code) == (404, "NOT_FOUND", "NOT_FOUND")
        if name != "..":
            # A client resolves ".." itself: REST then speaks of a path, not of a name.
            assert answer.json()["detail"] in detail


async def test_empty_and_odd_names_over_grpc_are_not_found(stub: OrchestratorServiceStub) -> None:
    for name in ("", "\x00"):
        for call in (
            stub.GetReportHtml(pb.GetReportHtmlRequest(run_id=name)),
            stub.ListPrinciples(pb.ListPrinciplesRequest(run_id=name)).read(),
            stub.GetPromptSet(pb.GetPromptSetRequest(id=name)),
            stub.GetShippedStudy(pb.GetShippedStudyRequest(id=name)),
        ):
            assert (await _refusal(call))[0] == "NOT_FOUND"
