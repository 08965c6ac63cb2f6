"""The error codes of valign, and what each becomes on the wire.

    ValignError
    ├── InvalidInputError        the request is wrong; repeating it will not help
    ├── UnauthenticatedError     no credential, or one that is not valid
    ├── ForbiddenError           a credential that does not allow this
    ├── NotFoundError            no such thing
    ├── ConflictError            the same id with other content
    ├── PreconditionError        the state of the world does not allow it (sha, base model)
    ├── OverloadedError          queue full, no adapter slot; try again later
    ├── NotReadyError            loading or draining; try again later
    ├── DeadlineError            it took too long
    ├── CancelledRequestError    the caller gave up
    └── InternalError            our fault

A message says what was wrong, with which value, and what to do.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple


class Wire(NamedTuple):
    """How an error code travels: gRPC status name, HTTP status, whether a retry can help."""

    grpc_status: str
    http_status: int
    retryable: bool


class ErrorCode(StrEnum):
    """The closed set of codes. A code is never re-used for another meaning."""

    INVALID_INPUT = "INVALID_INPUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    PRECONDITION = "PRECONDITION"
    OVERLOADED = "OVERLOADED"
    NOT_READY = "NOT_READY"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"

    @property
    def grpc_status(self) -> str:
        """Name of the gRPC status code."""
        return _WIRE[self].grpc_status

    @property
    def http_status(self) -> int:
        """HTTP status code."""
        return _WIRE[self].http_status

    @property
    def retryable(self) -> bool:
        """True if the same call can succeed later; the caller must still know it to be idempotent."""
        return _WIRE[self].retryable


_WIRE: dict[ErrorCode, Wire] = {
    ErrorCode.INVALID_INPUT: Wire("INVALID_ARGUMENT", 422, False),
    ErrorCode.UNAUTHENTICATED: Wire("UNAUTHENTICATED", 401, False),
    ErrorCode.FORBIDDEN: Wire("PERMISSION_DENIED", 403, False),
    ErrorCode.NOT_FOUND: Wire("NOT_FOUND", 404, False),
    ErrorCode.CONFLICT: Wire("ALREADY_EXISTS", 409, False),
    ErrorCode.PRECONDITION: Wire("FAILED_PRECONDITION", 412, False),
    ErrorCode.OVERLOADED: Wire("RESOURCE_EXHAUSTED", 429, True),
    ErrorCode.NOT_READY: Wire("UNAVAILABLE", 503, True),
    ErrorCode.TIMEOUT: Wire("DEADLINE_EXCEEDED", 504, True),
    ErrorCode.CANCELLED: Wire("CANCELLED", 499, False),
    ErrorCode.INTERNAL: Wire("INTERNAL", 500, False),
}


class ValignError(Exception):
    """Base of every error that crosses a service boundary.

    ``details`` is JSON-able data for programs, for example ``{"errors": [{"line": 3, …}]}``.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class InvalidInputError(ValignError):
    """The request is wrong; repeating it will not help."""

    code = ErrorCode.INVALID_INPUT


class UnauthenticatedError(ValignError):
    """No credential, or one that is not valid."""

    code = ErrorCode.UNAUTHENTICATED


class ForbiddenError(ValignError):
    """The credential does not allow this."""

    code = ErrorCode.FORBIDDEN


class NotFoundError(ValignError):
    """There is no such thing."""

    code = ErrorCode.NOT_FOUND


class ConflictError(ValignError):
    """The same id exists with other content."""

    code = ErrorCode.CONFLICT


class PreconditionError(ValignError):
    """The state of the world does not allow it, for example another base model."""

    code = ErrorCode.PRECONDITION


class OverloadedError(ValignError):
    """A queue is full or no adapter slot is free; try again later."""

    code = ErrorCode.OVERLOADED


class NotReadyError(ValignError):
    """The service is loading or draining; try again later."""

    code = ErrorCode.NOT_READY


class DeadlineError(ValignError):
    """The call took longer than its deadline."""

    code = ErrorCode.TIMEOUT


class CancelledRequestError(ValignError):
    """The caller gave up."""

    code = ErrorCode.CANCELLED


class InternalError(ValignError):
    """A fault of ours; the trace is in the log under the request id."""

    code = ErrorCode.INTERNAL


_CLASSES: dict[ErrorCode, type[ValignError]] = {cls.code: cls for cls in ValignError.__subclasses__()}


def error_for(code: str, message: str, details: Mapping[str, Any] | None = None) -> ValignError:
    """The exception for a code that came over the wire; an unknown code becomes InternalError."""
    try:
        cls = _CLASSES[ErrorCode(code)]
    except ValueError:
        cls = InternalError
    return cls(message, details=details)
