"""Answers of the face itself, in the shapes that clients of OpenAI's API know.

Errors: ``{"error": {"message", "type", "param", "code"}}``, with the HTTP status as the code, as vLLM's own.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.types import Send

from services.common.errors import ErrorCode, ValignError

_JSON = (b"content-type", b"application/json")
# A request that is wrong is 400 to these clients, whatever is wrong with it; the others as everywhere.
_STATUS = {ErrorCode.INVALID_INPUT: 400}
_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "BadRequestError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
_RETRY_AFTER_S = {429: 1, 503: 2}


class RefusedError(Exception):
    """A refusal with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def status_of(error: ValignError) -> int:
    """The HTTP status of an error on this face."""
    return _STATUS.get(error.code, error.code.http_status)


async def send_json(send: Send, status: int, content: Any, headers: Mapping[str, str] | None = None) -> None:
    """One whole JSON answer."""
    body = json.dumps(content, ensure_ascii=False).encode()
    extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [_JSON, (b"content-length", str(len(body)).encode()), *extra],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send, status: int, message: str, *, param: str | None = None, retry_after_s: int | None = None
) -> None:
    """One error; 429 and 503 say when to come again."""
    headers: dict[str, str] = {}
    wait_s = retry_after_s or _RETRY_AFTER_S.get(status)
    if wait_s:
        headers["retry-after"] = str(wait_s)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="valign"'
    kind = _TYPES.get(status, "InternalServerError")
    content = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    await send_json(send, status, content, headers)
