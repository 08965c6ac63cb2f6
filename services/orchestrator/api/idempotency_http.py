"""``Idempotency-Key`` on every request that changes something: plain ASGI, behind the access check.

Answers of success alone are kept: a refused request has changed nothing and may be sent again under its key.
An answer with ``Cache-Control: no-store``, or with a field ``secret``, is not kept, only that there was one.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.errors import ConflictError, InvalidInputError, ValignError
from services.orchestrator.access.scopes import SCOPE_OF_OPERATION
from services.orchestrator.api.problems import problem_response
from services.orchestrator.idempotency import MAX_KEPT_BYTES, RENEW_S, Found, IdempotencyBook, KeptAnswer
from services.orchestrator.identity import Scope as AccessScope
from services.orchestrator.identity import current_principal

log = structlog.get_logger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_CHARACTERS = 255
_KEPT_HEADERS = frozenset({"content-type", "location", "cache-control"})
# These keep their keys themselves, in the transaction of what they begin.
OWN_KEYS = frozenset({"createRun", "createReview"})
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def takes_key(operation: str, method: str) -> bool:
    """Whether the operation changes something, so that a key of it is honoured here."""
    scope = SCOPE_OF_OPERATION.get(operation, AccessScope.READ)
    return method in _CHANGING and scope is not AccessScope.READ and operation not in OWN_KEYS


class IdempotencyMiddleware:
    """Answers a request that was answered before under the same key with the same answer."""

    def __init__(self, app: ASGIApp, book: IdempotencyBook, routes: Sequence[BaseRoute]) -> None:
        """``routes`` are the application's own list, in its order."""
        self._app = app
        self._book = book
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; whatever changes nothing or has no key passes."""
        key = _key_of(scope)
        operation = self._operation(scope) if key else ""
        if not key or not takes_key(operation, scope["method"]):
            await self._app(scope, receive, send)
            return
        try:
            if len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
                raise InvalidInputError(
                    f"{HEADER} is at most {MAX_KEY_CHARACTERS} printable characters; this one has {len(key)}"
                )
            body = await _read(receive)
            found, claim = await self._claim(operation, key, scope, body)
        except ValignError as error:
            await _refuse(error, scope, receive, send)
            return
        if found is not None:
            await _replay(found, scope, receive, send)
            return
        await self._work(claim, scope, _Again(body, receive), send)

    async def _claim(self, operation: str, key: str, scope: Scope, body: bytes) -> tuple[Any, "_Claim"]:
        whose = (current_principal().name, operation, scope["path"], key)
        asked = (scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"))
        claim = _Claim(
            self._book,
            hashlib.sha256("\0".join(whose).encode("utf-8", "surrogatepass")).hexdigest(),
            uuid.uuid4().hex,
        )
        request = hashlib.sha256("\0".join(asked).encode("utf-8", "surrogatepass") + b"\0" + body).hexdigest()
        found = await asyncio.to_thread(self._book.claim, claim.key, request, claim.claimant)
        if found is not None and found.request_sha256 != request:
            raise ConflictError(f"{HEADER} {key[:80]!r} was sent with another request; use a new key for it")
        return found, claim

    async def _work(self, claim: "_Claim", scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Recorded(send)
        work = asyncio.ensure_future(self._app(scope, receive, answer))
        try:
            while not (await asyncio.wait({work}, timeout=RENEW_S))[0]:
                await claim.renew()
            work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            # Also where this task is cancelled: a claim that stays would block the key for a minute.
            await asyncio.shield(claim.settle(answer.kept()))
        await answer.finish()

    def _operation(self, scope: Scope) -> str:
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return str(getattr(route, "operation_id", None) or "")
        return ""


class _Claim:
    """A key that this request holds."""

    def __init__(self, book: IdempotencyBook, key: str, claimant: str) -> None:
        self._book = book
        self.key = key
        self.claimant = claimant

    async def renew(self) -> None:
        try:
            await asyncio.to_thread(self._book.renew, self.key, self.claimant)
        except ValignError as error:
            # The work goes on; the next renewal may find the database again.
            log.warning("idempotency.not_renewed", reason=error.message)

    async def settle(self, answer: KeptAnswer | None) -> None:
        try:
            if answer is None:
                await asyncio.to_thread(self._book.release, self.key, self.claimant)
            else:
                await asyncio.to_thread(self._book.keep, self.key, self.claimant, answer)
        except ValignError as error:
            # The answer has been sent; the claim ends by itself.
            log.warning("idempotency.not_kept", reason=error.message)


class _Recorded:
    """Passes an answer on, and remembers it.

    Its last part waits for ``finish``: whoever has the whole answer and asks again must find it kept.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()
        self._last: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            if len(self._body) <= MAX_KEPT_BYTES:
                self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._last = message
                return
        await self._send(message)

    async def finish(self) -> None:
        """Send the last part."""
        if self._last is not None:
            await self._send(self._last)

    def kept(self) -> KeptAnswer | None:
        """What to keep of it; None if it was no success, or did not end."""
        if self._start is None or self._last is None or not 200 <= self._start["status"] < 300:
            return None
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._start["headers"]}
        secret = "no-store" in sent.get("cache-control", "") or b'"secret":' in self._body
        headers = {name: value for name, value in sent.items() if name in _KEPT_HEADERS}
        body = None if secret or len(self._body) > MAX_KEPT_BYTES else bytes(self._body)
        return KeptAnswer(self._start["status"], headers, body)


class _Again:
    """The body that was read, once more; then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _replay(found: Found, scope: Scope, receive: Receive, send: Send) -> None:
    answer = found.answer
    if answer is None:
        error = ConflictError(f"a request with this {HEADER} is being answered; ask again in a moment")
        await _refuse(error, scope, receive, send, {"retry-after": "1"})
        return
    if answer.body is None:
        error = ConflictError(
            f"a request with this {HEADER} was answered with {answer.status}, and the answer is not kept:"
            " it holds a secret or is too long; look at the resource, or send a new key"
        )
        await _refuse(error, scope, receive, send)
        return
    headers = {**answer.headers, REPLAYED.lower(): "true", "content-length": str(len(answer.body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


async def _refuse(
    error: ValignError, scope: Scope, receive: Receive, send: Send, headers: dict[str, str] | None = None
) -> None:
    await problem_response(error, scope["state"]["request_id"], headers)(scope, receive, send)


def _key_of(scope: Scope) -> str:
    if scope["type"] != "http":
        return ""
    given: bytes = dict(scope["headers"]).get(HEADER.lower().encode(), b"")
    return given.decode("latin-1")
