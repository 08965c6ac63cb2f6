"""Who may call, on the gRPC face: an interceptor that refuses before a handler is dispatched."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

import grpc

from services.common.errors import ValignError
from services.common.rpc.status import message_of, status_of, trailers_of
from services.orchestrator.access import authenticate
from services.orchestrator.access.authenticate import Access, Call
from services.orchestrator.access.scopes import OPEN_SERVICES, SCOPE_OF_OTHER_RPC, SCOPE_OF_RPC, STREAMED
from services.orchestrator.identity import Principal, acting_as


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the orchestrator's server, streams included; health is open."""

    def __init__(self, access: Access, service_name: str) -> None:
        """``service_name`` is the full name of the service that the table of scopes is about."""
        self._access = access
        self._service_name = service_name

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler behind the check."""
        handler = await continuation(handler_call_details)
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if handler is None or service in OPEN_SERVICES:
            return handler
        ours = service == self._service_name
        scope = SCOPE_OF_RPC.get(method) if ours else SCOPE_OF_OTHER_RPC.get(service)
        authorization = _text(dict(handler_call_details.invocation_metadata or ()).get("authorization"))

        async def admit(context: Any) -> Principal:
            call = Call(method, scope, authorization, _address(context.peer()))
            try:
                return await self._access.admit(call)
            except ValignError as error:
                if ours:
                    # The outer interceptor maps and counts it.
                    raise
                await context.abort(status_of(error), message_of(error), trailers_of(error, ""))
                raise AssertionError("unreachable: abort raises") from error

        async def recheck() -> None:
            await self._access.recheck(Call(method, scope, authorization, ""))

        return _behind(handler, admit, recheck, self._access, method)


def _behind(
    handler: Any,
    admit: Callable[[Any], Awaitable[Principal]],
    recheck: Callable[[], Awaitable[None]],
    access: Access,
    method: str,
) -> grpc.RpcMethodHandler:
    codecs = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.response_streaming:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            principal = await admit(context)
            with access.stream(principal, method if method in STREAMED else ""), acting_as(principal):
                checked_s = time.monotonic()
                async with aclosing(inner(request, context)) as responses:
                    async for response in responses:
                        if time.monotonic() - checked_s > authenticate.RECHECK_S:
                            # Before it is sent: nothing goes to a credential that has ended.
                            await recheck()
                            checked_s = time.monotonic()
                        yield response

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(stream, **codecs)

    inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

    async def unary(request: Any, context: Any) -> Any:
        principal = await admit(context)
        with acting_as(principal):
            return await inner(request, context)

    make = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(unary, **codecs)


def _text(value: str | bytes | None) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value or ""


def _address(peer: str) -> str:
    """``ipv4:1.2.3.4:5`` or ``ipv6:%5B::1%5D:5`` without scheme and port."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer
