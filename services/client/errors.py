"""What a call fails with.

ClientError               a call did not give what it promises
├── InsecureUrlError      a token would go over a connection that others can read
├── UnreachableError      nothing answered, or the connection was lost
├── UnexpectedAnswerError an answer that is not the orchestrator's
└── ApiError              the orchestrator answered with a problem document (RFC 9457)
    ├── InvalidInputError      INVALID_INPUT   the request is wrong; ``places`` says where
    ├── UnauthenticatedError   UNAUTHENTICATED no token, or one that is not valid
    ├── ForbiddenError         FORBIDDEN       the token does not allow this
    ├── NotFoundError          NOT_FOUND       no such thing
    ├── ConflictError          CONFLICT        the same id with other content
    ├── PreconditionError      PRECONDITION    the state of things does not allow it; a stale etag
    ├── OverloadedError        OVERLOADED      too much work; try later
    ├── NotReadyError          NOT_READY       starting or stopping; try later
    ├── DeadlineError          TIMEOUT         it took too long
    ├── CancelledRequestError  CANCELLED       the caller gave up
    └── InternalError          INTERNAL        its log has the trace under ``request_id``
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ClientError(Exception):
    """Base of everything that a call raises."""


class InsecureUrlError(ClientError):
    """A token would be sent where others can read it."""


class UnreachableError(ClientError):
    """Nothing answered at the address, or the connection was lost; ``reason`` says how."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no orchestrator answers at {url} ({reason})")
        self.url = url
        self.reason = reason


class UnexpectedAnswerError(ClientError):
    """An answer without a problem document, or a file that is not what it was said to be."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ApiError(ClientError):
    """The orchestrator refused or failed; ``problem`` is its document, unchanged."""

    code: ClassVar[str] = ""

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"))
        self.status = status
        self.problem = dict(problem)
        self.retry_after_s = retry_after_s

    @property
    def detail(self) -> str:
        """What was wrong, with which value, and what to do."""
        return str(self)

    @property
    def request_id(self) -> str:
        """Under which the orchestrator's log has this request; "" if it did not say."""
        return str(self.problem.get("request_id", ""))

    @property
    def places(self) -> list[dict[str, Any]]:
        """The places in a document that are wrong: ``line``, ``column``, ``path``, ``message``."""
        return [place for place in self.problem.get("errors") or [] if isinstance(place, dict)]


class InvalidInputError(ApiError):
    """The request is wrong."""

    code = "INVALID_INPUT"


class UnauthenticatedError(ApiError):
    """No token, or one that is not valid."""

    code = "UNAUTHENTICATED"


class ForbiddenError(ApiError):
    """The token does not allow this."""

    code = "FORBIDDEN"


class NotFoundError(ApiError):
    """There is no such thing."""

    code = "NOT_FOUND"


class ConflictError(ApiError):
    """The same id with other content, or somebody else was quicker."""

    code = "CONFLICT"


class PreconditionError(ApiError):
    """The state of things does not allow it, or an etag is stale."""

    code = "PRECONDITION"


class OverloadedError(ApiError):
    """Too much work at the moment."""

    code = "OVERLOADED"


class NotReadyError(ApiError):
    """The orchestrator starts or stops."""

    code = "NOT_READY"


class DeadlineError(ApiError):
    """It took too long."""

    code = "TIMEOUT"


class CancelledRequestError(ApiError):
    """The caller gave up."""

    code = "CANCELLED"


class InternalError(ApiError):
    """A fault of the orchestrator's."""

    code = "INTERNAL"


_BY_CODE: dict[str, type[ApiError]] = {cls.code: cls for cls in ApiError.__subclasses__()}


def error_of(status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> ApiError:
    """The error for a problem document; a code that this client does not know gives a plain ApiError."""
    return _BY_CODE.get(str(problem.get("code", "")), ApiError)(status, problem, retry_after_s)
