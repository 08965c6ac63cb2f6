"""What every request has: id, problem documents, size limit, metrics; and the OpenAPI document."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from services.common.errors import ErrorCode
from services.orchestrator.api import build_http_app
from services.orchestrator.api.middleware import MAX_BODY_BYTES
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server

PROBLEM = "application/problem+json"


async def test_request_id_given_comes_back_and_a_bad_one_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/runs/r-none", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1"
    for bad in ("a b", "x" * 200, 'a"b', "é".encode()):
        answer = await client.get("/healthz", headers={"x-request-id": bad})
        assert len(answer.headers["x-request-id"]) == 32


# /docs and /redoc would load scripts from a CDN.
@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/v1", "/v1/nonsense", "/v1/runs/", "/v1/runs/a/b/c", "/v1/%00"]
)
async def test_unknown_path_is_a_not_found_problem(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["code"] == "NOT_FOUND"


async def test_other_method_is_a_405_problem_that_says_what_is_allowed(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/system")
    assert (answer.status_code, answer.json()["code"]) == (405, "INVALID_INPUT")
    assert answer.headers["allow"] == "GET"
    assert answer.headers["content-type"] == PROBLEM


async def test_body_too_large_is_a_413_problem(client: httpx.AsyncClient, here: World) -> None:
    body = b"#" * (MAX_BODY_BYTES + 1)
    declared = await client.post("/v1/runs", content=body)

    async def parts() -> Any:
        for _ in range(5):
            yield b"#" * (MAX_BODY_BYTES // 4)

    streamed = await client.post("/v1/runs", content=parts())
    for answer in (declared, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "INVALID_INPUT")
        assert answer.headers["content-type"] == PROBLEM
    assert here.queue.enqueued == []


async def test_unexpected_error_answers_with_fixed_text_and_request_id(
    client: httpx.AsyncClient, here: World
) -> None:
    here.queue.error = RuntimeError("secret detail")
    answer = await client.post("/v1/runs", content=b"name: demo\n", headers={"x-request-id": "find-me"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert "secret" not in answer.text
    assert answer.json()["detail"] == "internal error; the log has the trace under request id find-me"


async def test_readyz_follows_health_and_database(here: World) -> None:
    serving = [True]
    app = build_http_app(here.application, lambda: serving[0])
    async with http_server(app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        serving[0] = False
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "NOT_READY")
        assert answer.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200


async def test_metrics_label_routes_by_their_template(client: httpx.AsyncClient) -> None:
    for path in ("/v1/runs/r-1", "/v1/runs/r-2", "/v1/a", "/v1/b"):
        await client.get(path)
    await client.request("REPORT", "/v1/runs")
    await asyncio.sleep(0.05)
    text = (await client.get("/metrics")).text
    name = "valign_orchestrator_http_requests_total"
    assert f'{name}{{method="GET",route="/v1/runs/{{run_id}}",status="404"}}' in text
    assert f'{name}{{method="GET",route="unmatched",status="404"}}' in text
    assert f'{name}{{method="OTHER",' in text
    assert "r-1" not in text
    assert "REPORT" not in text
    assert REGISTRY.get_sample_value("valign_orchestrator_http_requests_in_flight") is not None


async def test_packaged_data_and_system_answer(client: httpx.AsyncClient) -> None:
    sets = (await client.get("/v1/reference-sets")).json()["reference_sets"]
    assert {
        "id",
        "version",
        "title",
        "steward",
        "review_date",
        "stakeholders_consulted",
        "warnings",
    } == set(sets[0])
    assert (await client.get(f"/v1/reference-sets/{sets[0]['id']}")).json()["id"] == sets[0]["id"]
    prompts = (await client.get("/v1/prompt-sets")).json()["prompt_sets"]
    assert len(prompts[0]["sha256"]) == 64
    assert (await client.get(f"/v1/prompt-sets/{prompts[0]['id']}")).json()["id"] == prompts[0]["id"]
    for study in (await client.get("/v1/studies/shipped")).json()["studies"]:
        answer = await client.get(f"/v1/studies/shipped/{study['id']}")
        assert answer.headers["content-type"].startswith("application/yaml")
    for path in ("reference-sets", "prompt-sets", "studies/shipped"):
        assert (await client.get(f"/v1/{path}/none")).status_code == 404
    assert (await client.get("/v1/system")).json() == {"services": []}


async def test_check_reference_set_answers_or_names_the_line(client: httpx.AsyncClient, here: World) -> None:
    example = _schema(here)["paths"]["/v1/reference-sets/check"]["post"]
    content = example["requestBody"]["content"]
    text = content["application/yaml"]["example"]
    good = await client.post("/v1/reference-sets/check", content=text)
    assert good.json()["review_date"] == "2027-06-30"
    as_json = await client.post("/v1/reference-sets/check", json=content["application/json"]["example"])
    assert as_json.json() == good.json()
    bad = await client.post("/v1/reference-sets/check", content=text + "nonsense: 1\n")
    assert bad.json()["errors"][0]["line"] == text.count("\n") + 1


def _schema(here: World) -> dict[str, Any]:
    app: FastAPI = build_http_app(here.application)
    return app.openapi()


async def test_openapi_study_examples_are_valid(client: httpx.AsyncClient, here: World) -> None:
    for path in ("/v1/studies/check", "/v1/runs"):
        content = _schema(here)["paths"][path]["post"]["requestBody"]["content"]
        for media_type, entry in content.items():
            example = entry["example"]
            sent = {"json": example} if media_type == "application/json" else {"content": example}
            assert (await client.post(path, **sent)).is_success


def test_openapi_every_operation_is_described_with_examples_and_problems(here: World) -> None:
    schema = _schema(here)
    ids = []
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["description"], path
            if path.startswith("/v1"):
                problem = operation["responses"]["500"]["content"][PROBLEM]["schema"]
                assert problem == {"$ref": "#/components/schemas/Problem"}
            if "{" in path:
                assert "404" in operation["responses"], path
    assert len(ids) == len(set(ids))
    assert "HTTPValidationError" not in str(schema)
    for name in ("Run", "RunPage", "Problem", "Principle", "Service"):
        assert schema["components"]["schemas"][name]["examples"], name


def test_openapi_references_resolve_and_codes_are_the_table(here: World) -> None:
    schema = _schema(here)
    known = schema["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [ref for item in value.values() for ref in references(item)]
        return [ref for item in value for ref in references(item)] if isinstance(value, list) else []

    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in known, reference
    assert known["ErrorCode"]["enum"] == [code.value for code in ErrorCode]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/runs", "GET, POST"), ("/v1/reference-sets/check", "POST"), ("/v1/reference-sets/x", "GET")],
)
async def test_method_that_a_path_has_not_is_told_all_that_it_has(
    client: httpx.AsyncClient, path: str, allowed: str
) -> None:
    answer = await client.request("PATCH", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["detail"].endswith(f"allowed: {allowed}")


@pytest.mark.parametrize("body", [b"\xff\xfe{}", b"{", b"[" * 100_000, b"1e999999"])
async def test_body_that_is_no_json_is_invalid_input(client: httpx.AsyncClient, body: bytes) -> None:
    for path in ("/v1/compare", "/v1/rulers"):
        answer = await client.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT"), answer.text
