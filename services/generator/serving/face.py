"""The HTTP face as ASGI: what is let through to vLLM's own server, for whom, on which adapter.

It knows nothing of vLLM: what it lets through goes to any ASGI application, which finds the adapter in
``exchange.CURRENT``. What is not in ``PASSED`` or answered here is not there.
"""

import functools
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common import tracing
from services.common.errors import NotReadyError, OverloadedError, ValignError
from services.generator.metrics import HTTP_OPEN, HTTP_REQUESTS, HTTP_SECONDS
from services.generator.serving.answers import RefusedError, send_error, send_json, status_of
from services.generator.serving.asked import Asked, CallerLeftError, Replay, read_asked
from services.generator.serving.callers import LOCAL, Caller, Callers
from services.generator.serving.exchange import CURRENT, Exchange
from services.generator.serving.names import PublicNames
from services.generator.serving.observed import observe
from services.generator.serving.passing import Answer
from services.generator.serving.spans import OPERATIONS, Ending, request_span, tell
from services.generator.serving.traffic import Traffic, Watch
from services.generator.serving.web_pages import refuse_web_pages

log = structlog.get_logger(__name__)
_plain_log = logging.getLogger(__name__)

PASSED = {
    ("POST", "/v1/chat/completions"): "chat",
    ("POST", "/v1/completions"): "completions",
    ("POST", "/tokenize"): "tokenize",
    ("POST", "/detokenize"): "detokenize",
}
"""What goes to vLLM's server, by method and path, and its operation in metrics and logs."""

_MODELS = "/v1/models"
_HEALTH = "/health"
_WATCHED = frozenset({"chat", "completions"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# vLLM reads orders out of other headers (a replica's rank, a priority).
_HEADERS_PASSED = frozenset({b"content-type", b"content-length", b"accept", b"traceparent", b"tracestate"})


@dataclass(frozen=True, slots=True)
class FaceLimits:
    """``max_open``: requests at once, more get 429. ``max_sequences``: answers that one may ask for."""

    max_open: int
    max_body_bytes: int
    max_sequences: int


def _nothing() -> None:
    """The default check."""


class Face:
    """One ASGI application. ``draining`` True: nothing new is taken.

    Args:
        names: what models there are.
        server: vLLM's application.
        limits: see there.
        traffic: who watches.
        callers: who may call; None for everybody.
        loopback: whether only this machine reaches it; web pages are then kept out if ``callers`` is None.
        check: raises NotReadyError while ``server`` answers nothing, though there may be an engine.
    """

    def __init__(
        self,
        names: PublicNames,
        server: ASGIApp,
        limits: FaceLimits,
        traffic: Traffic,
        *,
        callers: Callers | None = None,
        loopback: bool = True,
        check: Callable[[], None] = _nothing,
    ) -> None:
        self._names = names
        self._server = server
        self._limits = limits
        self._traffic = traffic
        self._callers = callers
        self._loopback = loopback
        self._check = check
        self.draining = False
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything but HTTP is not served."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request = _Request(
            scope,
            receive,
            headers,
            request_id=given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex(),
            operation=_operation(scope),
        )
        answer = Answer(send, request.request_id)
        started = time.perf_counter()
        self.open += 1
        HTTP_OPEN.inc()
        try:
            # Not taken back: a request has a task of its own, and the binding ends with it.
            structlog.contextvars.bind_contextvars(request_id=request.request_id)
            if request.operation in OPERATIONS and tracing.tracing_is_on():
                await self._traced(request, answer)
            else:
                await self._answered(request, answer)
        finally:
            self.open -= 1
            HTTP_OPEN.dec()
            request.note(answer, time.perf_counter() - started)

    async def _traced(self, request: "_Request", answer: Answer) -> None:
        with request_span(request.operation, request.headers) as span:
            try:
                await self._answered(request, answer)
            finally:
                body = request.asked.body if request.asked else None
                by = self._names.base if request.adapter == "base" else request.adapter
                ending = Ending(body, request.exchange, by, answer.status, request.left)
                tell(span, request.operation, ending)

    async def _answered(self, request: "_Request", answer: Answer) -> None:
        try:
            await self._call(request, answer)
        except CallerLeftError:
            request.left = True
        except RefusedError as error:
            await send_error(answer, error.status, error.message)
        except ValignError as error:
            param = "model" if status_of(error) == 404 else None
            wait_s = error.details.get("retry_after_s")
            await send_error(answer, status_of(error), error.message, param=param, retry_after_s=wait_s)
        except Exception:
            log.exception("http.failed", operation=request.operation)
            if answer.status is not None:
                # Half an answer is sent: only a broken connection tells the caller.
                raise
            await _send_fault(answer, request.request_id)

    async def _call(self, request: "_Request", answer: Answer) -> None:
        if request.operation == "health":
            await self._health(answer)
            return
        if self._callers is None and self._loopback:
            refuse_web_pages(request.headers)
        request.caller = await self._admit(request)
        match request.operation:
            case "other":
                path = request.scope["path"][:200]
                raise RefusedError(404, f"there is no {request.scope['method'][:20]} {path} here")
            case "models":
                await self._models(request.scope["path"], answer)
            case _:
                await self._pass(request, answer)

    async def _admit(self, request: "_Request") -> Caller:
        if self._callers is None:
            return LOCAL
        client = request.scope.get("client")
        authorization = request.headers.get(b"authorization", b"").decode("latin-1")
        return await self._callers.admit(authorization, str(client[0]) if client else "")

    async def _health(self, answer: Answer) -> None:
        if self.draining:
            raise NotReadyError("this server is stopping")
        self._names.listed()  # NotReadyError while there is no engine
        self._check()
        await send_json(answer, 200, {"status": "serving"})

    async def _models(self, path: str, answer: Answer) -> None:
        listed = self._names.listed()
        name = path.removeprefix(_MODELS).removeprefix("/")
        if not name:
            await send_json(answer, 200, {"object": "list", "data": listed})
            return
        found = next((model for model in listed if model["id"] == name), None)
        if found is None:
            await send_error(answer, 404, f"The model `{name[:200]}` does not exist.", param="model")
            return
        await send_json(answer, 200, found)

    async def _pass(self, request: "_Request", answer: Answer) -> None:
        if self.draining:
            raise NotReadyError("this server is stopping; another replica or the next start answers")
        if self.open > self._limits.max_open:
            raise OverloadedError(
                f"{self.open - 1} requests are open, the most that are taken; try again, or raise"
                " VALIGN_GENERATOR_MAX_HTTP_REQUESTS"
            )
        limits = self._limits
        asked = await read_asked(request.headers, request.receive, limits.max_body_bytes, request.request_id)
        request.asked = asked
        if asked.sequences > limits.max_sequences:
            raise RefusedError(
                400,
                f"the request asks for {asked.sequences} answers; at most {limits.max_sequences} are made for"
                " one request",
            )
        request.model = asked.model
        hold, request.route = await self._names.hold("http", asked.model, asked.key)
        request.adapter = hold.lease.name or "base"
        answer.add_headers(request.adapter_headers(hold.lease.sha256))
        watches: tuple[Watch, ...] = ()
        if request.route and request.operation in _WATCHED:
            watches = self._traffic.choose(request.route)
        if watches:
            answer.keep()
        request.exchange = Exchange(request.operation, asked.model, request.route, hold)
        token = CURRENT.set(request.exchange)
        try:
            await self._served(request, asked, answer)
        finally:
            CURRENT.reset(token)
            hold.release()
        if request.route and answer.status == 200 and answer.whole and not request.left:
            self._show(request, asked, answer, hold.lease.name, watches)

    async def _served(self, request: "_Request", asked: Asked, answer: Answer) -> None:
        replay = Replay(asked.raw, request.receive)
        headers = [(name, value) for name, value in request.scope["headers"] if name in _HEADERS_PASSED]
        headers.append((b"x-request-id", request.request_id.encode("latin-1")))
        answer.passing = True
        try:
            await self._server({**request.scope, "headers": headers}, replay, answer)
        except Exception:
            if answer.fault is None:
                raise
            # The application says its 500 and then raises what it came from.
            log.exception("http.server_failed", operation=request.operation)
        finally:
            answer.passing = False
            request.left = replay.left and not answer.whole
        if answer.fault is not None and not request.left:
            log.warning("http.fault", operation=request.operation, fault=answer.fault, reason=answer.reason)
            self._names.listed()  # NotReadyError if the engine died under it
            await _send_fault(answer, request.request_id)

    def _show(
        self, request: "_Request", asked: Asked, answer: Answer, adapter: str, watches: tuple[Watch, ...]
    ) -> None:
        self._traffic.ended(request.route)
        if not watches:
            return
        kept = answer.kept
        observed = None
        if kept is not None:
            observed = observe(request.request_id, adapter, asked.body, kept, streamed=answer.streamed)
        for watch in watches:
            if observed is None:
                watch.drop()
            else:
                watch.put(observed)


async def _send_fault(answer: Answer, request_id: str) -> None:
    await send_error(answer, 500, f"a fault of the server; its log has it under request id {request_id}")


def _operation(scope: Scope) -> str:
    method, path = scope["method"], scope["path"]
    passed = PASSED.get((method, path))
    if passed is not None:
        return passed
    if method == "GET" and path == _HEALTH:
        return "health"
    if method == "GET" and (path == _MODELS or path.startswith(f"{_MODELS}/")):
        return "models"
    return "other"


@functools.cache
def _metrics(operation: str, status: int) -> tuple[Counter, Histogram]:
    """Looked up once each: operations and statuses are few."""
    return HTTP_REQUESTS.labels(operation, str(status or "none")), HTTP_SECONDS.labels(operation)


@dataclass(slots=True)
class _Request:
    """What is known of one request, and its line in the log."""

    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    request_id: str
    operation: str
    caller: Caller | None = None
    model: str = ""
    route: str = ""
    adapter: str = ""
    left: bool = False
    asked: Asked | None = None
    exchange: Exchange | None = None

    def adapter_headers(self, sha256: str) -> dict[str, str]:
        """Who answers: on every answer to a request that found its model."""
        found: dict[str, Any] = {
            "x-valign-adapter": self.adapter,
            "x-valign-adapter-sha256": sha256,
            "x-valign-route": self.route,
        }
        return {name: value for name, value in found.items() if value}

    def note(self, answer: Answer, duration_s: float) -> None:
        """Count it and log it: names and numbers, nothing of what was said."""
        status = 499 if self.left else answer.status or 0
        ended, seconds = _metrics(self.operation, status)
        ended.inc()
        seconds.observe(duration_s)
        # A line costs more than all else that the face does: those that went well are for who looks closely.
        level = logging.DEBUG if status < 400 or self.operation == "health" else logging.INFO
        if not _plain_log.isEnabledFor(level):
            return
        log.log(
            level,
            "http.ended",
            request_id=self.request_id,
            operation=self.operation,
            status=status,
            caller=self.caller.name if self.caller else None,
            model=self.model[:200],
            adapter=self.adapter,
            route=self.route,
            duration_s=round(duration_s, 4),
        )
