"""The OpenAPI document as a contract: complete, checked in, and never taken back."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.orchestrator.access.scopes import OPEN_OPERATIONS
from services.orchestrator.api import build_http_app
from services.orchestrator.api.idempotency_http import OWN_KEYS, takes_key
from services.orchestrator.api.openapi import operations, text_of
from tests.fakes.orchestrator import world
from tests.openapi_changes import breaking

CHECKED_IN = Path("docs/openapi.json")
RELEASED = Path("docs/openapi.released.json")
# What has no shape that could be written down: how an answer of these is read is said in words.
STREAMED = {"watchRun", "listAuditEntries", "getBundle"}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with world(tmp_path_factory.mktemp("openapi")) as here:
        made: dict[str, Any] = build_http_app(here.application).openapi()
    return made


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    return set().union(*(_references(value) for value in node)) if isinstance(node, list) else set()


def test_checked_in_document_is_the_present_one(schema: dict[str, Any]) -> None:
    assert CHECKED_IN.read_text(encoding="utf-8") == text_of(schema), (
        "run `make openapi`, and review the diff"
    )


def test_nothing_that_was_released_is_taken_back(schema: dict[str, Any]) -> None:
    assert breaking(json.loads(RELEASED.read_text(encoding="utf-8")), schema) == []


def test_every_operation_says_what_it_is(schema: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in schema["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(schema):
        where = f"{method} {path}"
        assert operation.get("summary"), where
        assert operation.get("description"), where
        assert operation["tags"], where
        assert set(operation["tags"]) <= tags, where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (where, parameter["name"])


def test_every_operation_answers_errors_with_problems(schema: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, method, operation in operations(schema):
        errors = {status: one for status, one in operation["responses"].items() if int(status) >= 400}
        assert "500" in errors, (method, path)
        assert all(one["content"] == problem for one in errors.values()), (method, path)
        if operation["operationId"] not in OPEN_OPERATIONS:
            assert {"401", "403", "429"} <= set(errors), (method, path)
            assert operation["security"] == [{"bearer": []}]


def test_every_json_answer_has_a_named_schema(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        good = [one for status, one in operation["responses"].items() if status in ("200", "201", "202")]
        assert good or "204" in operation["responses"], (method, path)
        for answer in good:
            assert answer["content"], (method, path)
            if "application/json" in answer["content"]:
                assert set(answer["content"]["application/json"]["schema"]) == {"$ref"}, (method, path)


def test_every_reference_leads_somewhere_and_every_schema_is_named_after_itself(
    schema: dict[str, Any],
) -> None:
    schemas = schema["components"]["schemas"]
    assert {name.removeprefix("#/components/schemas/") for name in _references(schema)} <= set(schemas)
    assert all(one["title"] == name for name, one in schemas.items())


def test_every_get_in_one_piece_has_an_etag_and_every_change_takes_a_key(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        named = {parameter["name"].lower() for parameter in operation.get("parameters", [])}
        identity = operation["operationId"]
        if method == "get" and path.startswith("/v1") and identity not in STREAMED - {"getBundle"}:
            assert "ETag" in operation["responses"]["200"]["headers"], identity
            assert ("if-none-match" in named, "304" in operation["responses"]) == (True, True), identity
        keyed = takes_key(identity, method.upper()) or identity in OWN_KEYS
        assert ("idempotency-key" in named) == keyed, identity


def test_every_list_that_pages_does_so_alike(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        named = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
        if "page_token" not in named:
            continue
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        page = schema["components"]["schemas"][answer.rpartition("/")[2]]
        assert (named["page_size"]["schema"]["default"], method) == (50, "get"), path
        assert {"next_page_token"} < set(page["required"]), path


def test_every_path_is_versioned(schema: dict[str, Any]) -> None:
    assert [path for path in schema["paths"] if not path.startswith("/v1/")] == [
        "/healthz",
        "/readyz",
        "/metrics",
    ]
    assert schema["servers"]
