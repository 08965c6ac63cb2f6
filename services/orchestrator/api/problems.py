"""Errors as RFC 9457 problem documents (``application/problem+json``)."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from services.common.errors import (
    CancelledRequestError,
    ErrorCode,
    InternalError,
    InvalidInputError,
    NotFoundError,
    ValignError,
)
from services.common.redact import redact_keys
from services.orchestrator.documents import fault
from services.orchestrator.store.jsontext import finite

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    ErrorCode.INVALID_INPUT: "The request is not valid",
    ErrorCode.UNAUTHENTICATED: "Credentials are missing or not valid",
    ErrorCode.FORBIDDEN: "The credentials do not allow this",
    ErrorCode.NOT_FOUND: "There is no such thing",
    ErrorCode.CONFLICT: "The same id has other content",
    ErrorCode.PRECONDITION: "A condition does not hold",
    ErrorCode.OVERLOADED: "Too much work at the moment",
    ErrorCode.NOT_READY: "Not ready",
    ErrorCode.TIMEOUT: "It took too long",
    ErrorCode.CANCELLED: "The request was cancelled",
    ErrorCode.INTERNAL: "Internal error",
}


class Fault(BaseModel):
    """One fault in a document or parameter."""

    line: int | None = Field(None, description="Line in the document, from 1; null if unknown.")
    column: int | None = Field(None, description="Column in that line, from 1; null if unknown.")
    path: str = Field("", description="Where in the data, for example `topics[2].id`.")
    message: str = Field(description="What is wrong there.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:valign:error:invalid-input",
                    "title": _TITLES[ErrorCode.INVALID_INPUT],
                    "status": 422,
                    "detail": "line 3, column 1: principels_per_topic: unknown key",
                    "code": "INVALID_INPUT",
                    "request_id": "4f6c2c3f5d0b4a0f9a3f6d2f0a1b2c3d",
                    "errors": [
                        {"line": 3, "column": 1, "path": "principels_per_topic", "message": "unknown key"}
                    ],
                }
            ]
        }
    )

    type: str = Field(description="URN of the kind of error.")
    title: str = Field(description="The kind of error in words.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What was wrong, with which value, and what to do.")
    code: ErrorCode = Field(description="A code of valign's error table.")
    request_id: str = Field(description="Find the log lines of this request by it.")
    errors: list[Fault] = Field(default=[], description="Every fault, if there are several places.")


class RefusedRequestError(InvalidInputError):
    """A request that HTTP itself has a status for: 405, 413, 415."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def problem_response(
    error: ValignError, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error. InternalError's own text stays in the log."""
    status = error.status if isinstance(error, RefusedRequestError) else error.code.http_status
    detail = redact_keys(error.message)
    if error.code is ErrorCode.INTERNAL:
        detail = f"internal error; the log has the trace under request id {request_id}"
    body = {
        "type": f"urn:valign:error:{error.code.lower().replace('_', '-')}",
        "title": _TITLES[error.code],
        "status": status,
        "detail": detail,
        "code": error.code.value,
        "request_id": request_id,
        "errors": error.details.get("errors", []) if error.code is not ErrorCode.INTERNAL else [],
    }
    sent = dict(headers or {})
    if error.code in (ErrorCode.OVERLOADED, ErrorCode.NOT_READY):
        sent["retry-after"] = str(error.details.get("retry_after_s", 1))
    # ASCII only: a text with a lone surrogate in it must not make the error fail too.
    content = json.dumps(finite(body), allow_nan=False)
    return Response(content, status_code=status, headers=sent, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception that a route raises with a problem document."""
    app.exception_handler(ValignError)(_on_valign_error)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(ClientDisconnect)(_on_disconnect)


def request_id_of(request: Request) -> str:
    """The id that the middleware gave the request."""
    return str(request.state.request_id)


async def _on_valign_error(request: Request, error: ValignError) -> Response:
    if error.code is ErrorCode.INTERNAL:
        log.error("http.failed", exc_info=error)
    return problem_response(error, request_id_of(request))


async def _on_validation_error(request: Request, error: RequestValidationError) -> Response:
    faults = []
    for item in error.errors():
        shown = repr(item.get("input"))
        path = tuple(item["loc"][1:])
        faults.append(fault(None, None, path, f"{item['msg']}; got {shown[:80]}"))
    message = "; ".join(f"{item['path']}: {item['message']}" for item in faults)
    return problem_response(InvalidInputError(message, details={"errors": faults}), request_id_of(request))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    where = f"{request.method} {request.url.path[:200]}"
    headers = error.headers
    problem: ValignError
    match error.status_code:
        case 400:
            # FastAPI's word for a body that is not JSON, or not UTF-8.
            problem = InvalidInputError("the body cannot be read; send JSON in UTF-8")
        case 404:
            problem = NotFoundError(f"there is no {where}; /openapi.json lists what there is")
        case 405:
            allowed = ", ".join(_methods_of(request))
            headers = {"Allow": allowed}
            problem = RefusedRequestError(405, f"{where} is not possible; allowed: {allowed}")
        case status if status < 500:
            problem = RefusedRequestError(status, str(error.detail))
        case _:
            problem = InternalError(str(error.detail))
    return problem_response(problem, request_id_of(request), headers)


def _methods_of(request: Request) -> list[str]:
    """All methods of the path (RFC 9110 section 10.2.1); Starlette names those of its first route alone."""
    routes = [
        route for route in request.app.routes if route.matches(dict(request.scope))[0] is not Match.NONE
    ]
    # Of "/sets/check" and "/sets/{id}" the path is the first one's alone.
    same = [route for route in request.app.routes if routes and route.path == routes[0].path]
    return sorted({method for route in same for method in route.methods or ()})


async def _on_disconnect(request: Request, error: ClientDisconnect) -> Response:
    return problem_response(CancelledRequestError("the caller went away"), request_id_of(request))


def problems(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's ``responses`` for the errors that a route can answer with, beside 500."""
    listed = [*codes, ErrorCode.INTERNAL]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code.http_status: {"description": _TITLES[code], "content": content} for code in listed}
