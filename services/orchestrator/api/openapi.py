"""The OpenAPI document: what FastAPI writes, and what holds for every operation alike.

``make openapi`` writes it as it is checked in (``docs/openapi.json``).
"""

import json
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from services.common.errors import ErrorCode
from services.orchestrator.access.scopes import OPEN_OPERATIONS
from services.orchestrator.api import problems
from services.orchestrator.api.idempotency_http import HEADER, MAX_KEY_CHARACTERS, REPLAYED, takes_key
from services.orchestrator.api.models import Event
from services.orchestrator.api.models_reviews import ReviewExport
from services.orchestrator.api.models_webhooks import EventDataSchema
from services.orchestrator.api.routes_values import Values
from services.orchestrator.planning.document import PlanRequest
from services.orchestrator.report.schema import Report
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.study import Study

if TYPE_CHECKING:
    from fastapi import FastAPI

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
# Written before these were models of a route: a study as its author writes it, and a set.
_MODELS = (
    Study,
    PlanRequest,
    ReferenceSetDocument,
    PromptSetDocument,
    Values,
    Event,
    problems.Problem,
    EventDataSchema,
    ReviewExport,
)
# Answers that a route passes on as they are: read from a file, or written by a run of an earlier version.
_ANSWERS = {
    "checkStudy": "Study",
    "checkReferenceSet": "ReferenceSetDocument",
    "getReferenceSet": "ReferenceSetDocument",
    "getPromptSet": "PromptSetDocument",
    "getReport": "Report",
    "getValues": "Values",
    "getEventType": "EventDataSchema",
    "exportReview": "ReviewExport",
}
_PATH_PARAMETERS = {
    "run_id": "A run's id.",
    "name": "Its name.",
    "key_id": "The key's id: the part of the key before the secret.",
    "sha256": "sha256 (hex) of its bytes.",
    "set_id": "The set's id.",
    "study_id": "The study's id.",
    "head_id": "The job's id, or the head's sha256.",
    "evaluation_id": "The job's id, or the sha256 of its result.",
    "review_id": "The review's id.",
    "monitor_id": "The monitor's id.",
    "webhook_id": "The webhook's id.",
    "type": "Kind of event, for example `run.ended`.",
}
_STREAMS = frozenset({"text/event-stream", "application/x-ndjson"})


def document(app: "FastAPI") -> dict[str, Any]:
    """The document of an application; made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            license_info=app.license_info,
            servers=app.servers,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _, extra = models_json_schema(
            [(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}"
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        for name, definition in extra["$defs"].items():
            schemas.setdefault(name, definition)
        schemas |= _report_schemas()
        _drop_default_validation_errors(schema)
        _tell_of_credentials(schema)
        for path, method, operation in operations(schema):
            _tell_of_etags(path, method, operation)
            _tell_of_keys(method, operation)
            _tell_of_answers(operation)
            _tell_of_bodies(operation)
            for parameter in operation.get("parameters", []):
                parameter.setdefault("description", _PATH_PARAMETERS.get(parameter["name"], ""))
        for name, definition in schemas.items():
            _drop_titles(definition)
            definition["title"] = name
        for _, _, operation in operations(schema):
            _drop_titles(operation)
        app.openapi_schema = schema
    return app.openapi_schema


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method (lower case) and operation of each."""
    return [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in _METHODS
    ]


def text_of(schema: dict[str, Any]) -> str:
    """The document as it is checked in: sorted, and without the version of the moment."""
    kept = {**schema, "info": {**schema["info"], "version": "1"}}
    return json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _report_schemas() -> dict[str, Any]:
    """The report's own schemas, each named ``…InReport``: it has an Adapter too, which is another one."""
    made = Report.model_json_schema(ref_template="#/components/schemas/{model}InReport")
    parts = made.pop("$defs")
    return {"Report": made, **{f"{name}InReport": part for name, part in parts.items()}}


def _drop_titles(node: Any) -> None:
    """Pydantic titles every property with its own name, and generators call classes by titles."""
    if isinstance(node, list):
        for item in node:
            _drop_titles(item)
    elif isinstance(node, dict):
        # A property may be called "title": that one is a schema, and no text.
        if isinstance(node.get("title"), str):
            del node["title"]
        for key, value in node.items():
            if key not in ("example", "examples", "default", "enum", "const"):
                _drop_titles(value)


def _tell_of_answers(operation: dict[str, Any]) -> None:
    if name := _ANSWERS.get(operation["operationId"]):
        content = operation["responses"]["200"].setdefault("content", {})
        content["application/json"] = {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _tell_of_bodies(operation: dict[str, Any]) -> None:
    """What may be refused before a body is read."""
    if "requestBody" in operation:
        content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status, what in (("413", "The body is too large."), ("415", "The body's media type is another.")):
            operation["responses"].setdefault(status, {"description": what, "content": content})


def _drop_default_validation_errors(schema: dict[str, Any]) -> None:
    # FastAPI documents its own shape of 422 for every route with a parameter; ours are problems.
    invalid = problems.problems(ErrorCode.INVALID_INPUT)[ErrorCode.INVALID_INPUT.http_status]
    for _, _, operation in operations(schema):
        if "HTTPValidationError" in str(operation["responses"].get("422", "")):
            operation["responses"]["422"] = invalid
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _tell_of_credentials(schema: dict[str, Any]) -> None:
    """Every route but the probes may ask for a bearer token, and answer that it is missing or not enough."""
    schema["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."}
    }
    refusals = problems.problems(ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN, ErrorCode.OVERLOADED)
    refusals.pop(ErrorCode.INTERNAL.http_status)
    for _, _, operation in operations(schema):
        if operation["operationId"] in OPEN_OPERATIONS:
            continue
        operation["security"] = [{"bearer": []}]
        for status, response in refusals.items():
            operation["responses"].setdefault(str(status), response)


def _tell_of_etags(path: str, method: str, operation: dict[str, Any]) -> None:
    answer = operation["responses"].get("200")
    if method != "get" or not path.startswith("/v1") or answer is None:
        return
    if _STREAMS & set(answer.get("content", {})):
        return
    answer.setdefault("headers", {})["ETag"] = {
        "description": "Changes with the answer; send it back as `If-None-Match`.",
        "schema": {"type": "string"},
    }
    operation["responses"]["304"] = {"description": "Nothing has changed since `If-None-Match`."}
    operation.setdefault("parameters", []).append(
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "`ETag` of the answer that the caller has; 304 if it would be the same.",
            "schema": {"type": "string"},
        }
    )


def _tell_of_keys(method: str, operation: dict[str, Any]) -> None:
    if not takes_key(operation["operationId"], method.upper()):
        return
    operation.setdefault("parameters", []).append(
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": "The same key with the same request within 24 hours gives the first answer, with "
            f"`{REPLAYED}: true`; with another request, or while the first is being answered, a conflict.",
            "schema": {"type": "string", "maxLength": MAX_KEY_CHARACTERS},
        }
    )
    conflict = problems.problems(ErrorCode.CONFLICT)[ErrorCode.CONFLICT.http_status]
    operation["responses"].setdefault(str(ErrorCode.CONFLICT.http_status), conflict)
    invalid = problems.problems(ErrorCode.INVALID_INPUT)[ErrorCode.INVALID_INPUT.http_status]
    operation["responses"].setdefault(str(ErrorCode.INVALID_INPUT.http_status), invalid)
