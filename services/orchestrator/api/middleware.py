"""What happens around every HTTP request: its id, span, log line, metrics, size limit, the last error net.

Plain ASGI, so that streams pass through untouched.
"""

import re
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import structlog
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common import tracing
from services.common.errors import InternalError
from services.orchestrator.api.problems import RefusedRequestError, problem_response

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 2 * 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# For answers that bring none of their own: the origin that serves them is the one whose page holds a key, so
# nothing that is opened by its address may run a script, be framed, or be taken for another type.
_GUARDS = (
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    ),
)
# Asked for every second by every probe.
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})

REQUESTS = Counter(
    "valign_orchestrator_http_requests_total",
    "HTTP requests that ended, by method, route template and status.",
    ("method", "route", "status"),
)
SECONDS = Histogram(
    "valign_orchestrator_http_request_seconds",
    "Seconds from a request's begin to its end (a stream's: to its last byte).",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
)
IN_FLIGHT = Gauge("valign_orchestrator_http_requests_in_flight", "HTTP requests in flight.")


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int = MAX_BODY_BYTES,
        larger_bodies: Mapping[str, int] | None = None,
    ) -> None:
        """``larger_bodies``: paths that take more than ``max_body_bytes``, and how much."""
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._larger_bodies = dict(larger_bodies or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        IN_FLIGHT.inc()
        with structlog.contextvars.bound_contextvars(request_id=request_id), _span(scope) as span:
            try:
                await self._call(scope, receive, answer, request_id)
            finally:
                IN_FLIGHT.dec()
                _note(scope, answer.status, time.perf_counter() - started, span)

    async def _call(self, scope: Scope, receive: Receive, answer: "_Answer", request_id: str) -> None:
        most_bytes = self._larger_bodies.get(scope["path"], self._max_body_bytes)
        limited = _LimitedBody(receive, most_bytes)
        try:
            limited.check_declared(scope)
            await self._app(scope, limited, answer)
        except Exception as error:
            refused = isinstance(error, RefusedRequestError)
            if not refused:
                log.exception("http.failed")
            if answer.status is not None:
                # Half an answer is sent: only a broken connection tells the caller.
                raise
            problem = error if isinstance(error, RefusedRequestError) else InternalError("unexpected")
            await problem_response(problem, request_id)(scope, receive, answer)


class _Answer:
    """Passes the response on with the request's id, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
            named = {name for name, _ in headers}
            headers += [guard for guard in _GUARDS if guard[0] not in named]
            message = {**message, "headers": headers}
        await self._send(message)


class _LimitedBody:
    """Refuses a body that is longer than allowed, whatever its header said."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._seen_bytes = 0

    def check_declared(self, scope: Scope) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            self._refuse(f"{int(declared)} bytes")

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen_bytes += len(message.get("body", b""))
            if self._seen_bytes > self._max_bytes:
                self._refuse(f"more than {self._max_bytes} bytes")
        return message

    def _refuse(self, size: str) -> None:
        raise RefusedRequestError(413, f"the body has {size}; at most {self._max_bytes} are accepted")


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _span(scope: Scope) -> AbstractContextManager[Span]:
    """The request's span, under the caller's if it sent one; probes have none."""
    if scope["path"] in _QUIET_ROUTES:
        return nullcontext(INVALID_SPAN)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    method = _method(scope)
    return tracing.span(
        method, {"http.request.method": method}, kind=SpanKind.SERVER, parent=tracing.context_from(headers)
    )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _note(scope: Scope, status: int | None, duration_s: float, span: Span) -> None:
    route: Any = scope.get("route")
    template, method = str(getattr(route, "path", "unmatched")), _method(scope)
    # The path itself stays out: what it names is in the answer's request id and the log.
    span.update_name(f"{method} {template}")
    span.set_attribute("http.route", template)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            tracing.mark_error(span, str(status))
    REQUESTS.labels(method, template, str(status or "none")).inc()
    SECONDS.labels(method, template).observe(duration_s)
    if template not in _QUIET_ROUTES:
        log.info("http.ended", method=method, route=template, status=status, duration_s=round(duration_s, 4))
