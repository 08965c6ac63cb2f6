"""Who may call, on the REST face: plain ASGI between the request's id and the routes."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import ErrorCode, ForbiddenError, UnauthenticatedError, ValignError
from services.common.settings import is_loopback
from services.orchestrator.access import authenticate
from services.orchestrator.access.authenticate import Access, Call
from services.orchestrator.access.scopes import (
    OPEN_ON_LOOPBACK,
    OPEN_OPERATIONS,
    SCOPE_OF_OPERATION,
    STREAMED,
)
from services.orchestrator.api.problems import problem_response
from services.orchestrator.identity import LOCAL, Principal, acting_as
from services.orchestrator.identity import Scope as AccessScope

log = structlog.get_logger(__name__)

_CHALLENGE = {"www-authenticate": 'Bearer realm="valign"'}
# FastAPI makes this route itself, without an operation id.
_BY_PATH = {"/openapi.json": "getOpenapi"}


class AccessMiddleware:
    """Admits a request, and names its principal to whatever it calls; or answers with a problem."""

    def __init__(self, app: ASGIApp, access: Access, routes: Sequence[BaseRoute]) -> None:
        """``routes`` are the application's own list, in its order: the first that matches is called."""
        self._app = app
        self._access = access
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything but HTTP passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        operation = self._operation(scope)
        if operation in OPEN_OPERATIONS:
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        with ExitStack() as held:
            try:
                call, principal = await self._admit(operation, scope, headers)
                held.enter_context(self._access.stream(principal, operation or ""))
            except ValignError as error:
                await _answer(error, scope, receive, send)
                return
            held.enter_context(acting_as(principal))
            if call is None or operation not in STREAMED:
                await self._app(scope, receive, send)
                return
            await self._while_valid(call, self._app(scope, receive, send))

    async def _while_valid(self, call: Call, answering: Awaitable[None]) -> None:
        """Answer until it is done; a credential that ends meanwhile cuts the connection."""
        work = asyncio.ensure_future(answering)
        try:
            while not (await asyncio.wait({work}, timeout=authenticate.RECHECK_S))[0]:
                await self._access.recheck(call)
            work.result()
        except (UnauthenticatedError, ForbiddenError) as error:
            if work.done():
                raise
            log.info("access.stream_cut", call=call.name, code=error.code.value, reason=error.message)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _admit(
        self, operation: str | None, scope: Scope, headers: dict[bytes, str]
    ) -> tuple[Call | None, Principal]:
        if not self._access.required and self._access.loopback:
            _refuse_web_pages(headers)
        address = _address(scope)
        if operation in OPEN_ON_LOOPBACK and is_loopback(address):
            return None, LOCAL
        name, needed = _needed(operation, scope)
        call = Call(name, needed, headers.get(b"authorization", ""), address)
        return call, await self._access.admit(call)

    def _operation(self, scope: Scope) -> str | None:
        """Operation id of the route that will be called; "" for one without, None if there is no route."""
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                found: Any = getattr(route, "operation_id", None)
                return str(found or _BY_PATH.get(getattr(route, "path", ""), ""))
        return None


def _needed(operation: str | None, scope: Scope) -> tuple[str, AccessScope | None]:
    """What to call the request in a message, and its scope."""
    if operation is None:
        # 404 or 405, but only for those who may read what there is.
        return f"{scope['method']} {scope['path'][:200]}", AccessScope.READ
    return operation or scope["path"][:200], SCOPE_OF_OPERATION.get(operation)


def _refuse_web_pages(headers: dict[bytes, str]) -> None:
    """Without credentials a page in a browser of this machine could call us. Its Origin tells, and the Host
    if its name was made to lead here (DNS rebinding)."""
    origin = headers.get(b"origin", "")
    if origin and not is_loopback(_host_of(origin)):
        raise ForbiddenError(f"a page of {origin[:100]!r} may not call this")
    host = headers.get(b"host", "")
    if headers.get(b"sec-fetch-site", "none") == "cross-site":
        raise ForbiddenError("a page of another site may not call this")
    if host and not is_loopback(_host_of(f"//{host}")):
        raise ForbiddenError(f"this listens for this machine alone and is not {host[:100]!r}; use 127.0.0.1")


def _host_of(url: str) -> str:
    """Its host; "" for what is no URL, which is no loopback name either."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _answer(error: ValignError, scope: Scope, receive: Receive, send: Send) -> None:
    headers = _CHALLENGE if error.code is ErrorCode.UNAUTHENTICATED else None
    await problem_response(error, scope["state"]["request_id"], headers)(scope, receive, send)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
