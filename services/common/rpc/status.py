"""Error codes to gRPC status and back.

The status alone is ambiguous (a proxy answers UNAVAILABLE too), so the code travels
in the trailer ``valign-error-code``, and the details as JSON in ``valign-error-details-bin``.
"""

import json
from collections.abc import Iterable

import grpc

from services.common.errors import ErrorCode, NotReadyError, ValignError, error_for
from services.common.redact import redact_keys

CODE_TRAILER = "valign-error-code"
DETAILS_TRAILER = "valign-error-details-bin"
REQUEST_ID_HEADER = "valign-request-id"

# Trailers are header frames. A peer refuses more than 8 KiB of them, with a status of its own that
# hides ours; message and details together stay below.
_MAX_DETAILS_BYTES = 4096
_MAX_MESSAGE_BYTES = 3072

_FROM_STATUS = {code.grpc_status: code for code in ErrorCode}


def status_of(error: ValignError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    status: grpc.StatusCode = grpc.StatusCode[error.code.grpc_status]
    return status


def message_of(error: ValignError) -> str:
    """The error's message, cut where it would be too long on the wire (percent-encoded UTF-8)."""
    size_bytes = 0
    message = redact_keys(error.message)
    for position, character in enumerate(message):
        size_bytes += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if size_bytes > _MAX_MESSAGE_BYTES:
            return message[:position] + " ... (cut)"
    return message


def trailers_of(error: ValignError, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata that carries code, details and request id."""
    trailers: list[tuple[str, str | bytes]] = [
        (CODE_TRAILER, error.code.value),
        (REQUEST_ID_HEADER, request_id),
    ]
    if error.details:
        details = json.dumps(error.details, default=str).encode()
        if len(details) <= _MAX_DETAILS_BYTES:
            trailers.append((DETAILS_TRAILER, details))
    return tuple(trailers)


def as_valign_error(error: grpc.aio.AioRpcError) -> ValignError:
    """The exception that a failed call stands for."""
    trailers: dict[str, str | bytes] = dict(_pairs(error.trailing_metadata()))
    raw = trailers.get(CODE_TRAILER)
    code = raw.decode() if isinstance(raw, bytes) else raw
    if code is None:
        code = _FROM_STATUS.get(error.code().name, ErrorCode.INTERNAL).value
    details = json.loads(trailers.get(DETAILS_TRAILER, b"{}"))
    return error_for(code, error.details() or error.code().name, details)


def as_stream_error(error: grpc.aio.AioRpcError) -> ValignError:
    """The exception that a stream's end stands for.

    An INTERNAL that no service of ours sent is the connection's: gRPC says so of a write to a process that
    has just been killed. It becomes NotReadyError.
    """
    found = as_valign_error(error)
    ours = any(key == CODE_TRAILER for key, _ in _pairs(error.trailing_metadata()))
    if found.code is ErrorCode.INTERNAL and not ours:
        return NotReadyError(f"the stream broke: {found.message}")
    return found


def _pairs(metadata: Iterable[tuple[str, str | bytes]] | None) -> Iterable[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata or ()]
