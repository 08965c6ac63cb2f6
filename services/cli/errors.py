"""What a command fails with.

CliError            a command can't do what was asked
├── ApiError        the orchestrator answered with an error (RFC 9457)
└── UnreachableError  nothing answered at the address
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_CREDENTIAL_REMEDY = (
    "Set VALIGN_API_KEY to a key that allows this; whoever runs the orchestrator makes one with"
    " `valign keys create`."
)


class CliError(Exception):
    """An error that a person can read: what was wrong, and the remedy."""

    def __init__(
        self, message: str, *, remedy: str = "", exit_code: int = 1, code: str = "PRECONDITION"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code
        self.code = code
        # (file name, its text) of the document that the error is about
        self.source: tuple[str, str] | None = None

    def problem(self) -> dict[str, Any]:
        """Return the error as a problem object (RFC 9457)."""
        body = {"type": "about:blank", "title": self.code, "detail": self.message, "code": self.code}
        return {**body, "remedy": self.remedy} if self.remedy else body


class ApiError(CliError):
    """The orchestrator refused or failed; ``body`` is its problem object, unchanged."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        detail = str(body.get("detail") or body.get("title") or f"HTTP status {status}")
        super().__init__(detail, code=str(body.get("code", "INTERNAL")))
        self.status = status
        self.body = dict(body)
        if status in (401, 403):
            self.remedy = _CREDENTIAL_REMEDY
        elif status >= 500 and body.get("request_id"):
            self.remedy = f"Look for request id {body['request_id']} in the orchestrator's log."

    def problem(self) -> dict[str, Any]:
        """Return the orchestrator's own problem object."""
        return self.body

    @property
    def places(self) -> list[Mapping[str, Any]]:
        """Return the places in the document that are wrong: ``line``, ``column``, ``path``, ``message``."""
        return [place for place in self.body.get("errors") or [] if isinstance(place, Mapping)]


class UnreachableError(CliError):
    """Nothing answered at the orchestrator's address."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No orchestrator answers at {url} ({reason}).",
            remedy="Start one with `valign up`, or set VALIGN_URL (or --url) to where yours runs.",
            code="NOT_READY",
        )


@contextmanager
def about_document(name: str, text: str) -> Iterator[None]:
    """Say of errors raised inside that they are about this document."""
    try:
        yield
    except CliError as error:
        error.source = (name, text)
        raise
