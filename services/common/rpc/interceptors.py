"""What happens around every server call: ids, span, log line, metrics, what it cost, error mapping.

All four kinds of handler are wrapped. AbortError and CancelledError pass untouched: the
first has its status set already, the second means that the caller is gone. Bytes that are no
message of the rpc's type are INVALID_INPUT; gRPC alone would call them UNKNOWN.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from services.common import tracing, usage
from services.common.errors import InternalError, InvalidInputError, ValignError
from services.common.metrics import RPC_HANDLED, RPC_IN_FLIGHT, RPC_SECONDS
from services.common.rpc.fence import Fence
from services.common.rpc.observed import RUN_ID_HEADER
from services.common.rpc.peers import Peers
from services.common.rpc.status import REQUEST_ID_HEADER, message_of, status_of, trailers_of

log = structlog.get_logger(__name__)

# Health checks come every second from every probe; a line for each would be noise.
_QUIET_SERVICES = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True, slots=True)
class _Caller:
    """What a call says of where it comes from: the ids for the log, and the span that it is under."""

    ids: dict[str, str]
    parent: Context


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of every method.

    ``peers`` refuse clients with other names; a fence refuses calls of an orchestrator that no longer leads.
    """

    def __init__(self, fence: Fence | None = None, peers: Peers | None = None) -> None:
        self._fence = fence
        self._peers = peers or Peers(())

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if service in _QUIET_SERVICES:
            return handler
        headers = dict(handler_call_details.invocation_metadata or ())
        caller = _caller(headers)
        fence, peers = self._fence, self._peers

        def admit(context: Any) -> None:
            peers.check(context)
            if fence is not None:
                fence.check(method, headers)

        return _wrap(handler, service, method, caller, admit)


def _wrap(
    handler: Any, service: str, method: str, caller: _Caller, admit: Callable[[Any], None]
) -> grpc.RpcMethodHandler:
    codecs = {
        "request_deserializer": _lenient(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    read = _messages if handler.request_streaming else _message
    if handler.response_streaming:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            # Closed here and not by the garbage collector: a caller who leaves must free what was taken.
            async with (
                _around(context, service, method, caller, admit),
                aclosing(inner(read(request), context)) as responses,
            ):
                async for response in responses:
                    yield response

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(stream, **codecs)

    inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

    async def unary(request: Any, context: Any) -> Any:
        async with _around(context, service, method, caller, admit):
            return await inner(read(request), context)

    make = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(unary, **codecs)


@asynccontextmanager
async def _around(
    context: Any, service: str, method: str, caller: _Caller, admit: Callable[[Any], None]
) -> AsyncIterator[None]:
    started = time.perf_counter()
    status = "OK"
    error: ValignError | None = None
    path, request_id = f"{service}/{method}", caller.ids["request_id"]
    RPC_IN_FLIGHT.labels(service, method).inc()
    # From its first call on: a counter that is born at 1 shows no increase.
    RPC_HANDLED.labels(service, method, "INTERNAL")
    with (
        structlog.contextvars.bound_contextvars(**caller.ids, rpc=path),
        tracing.span(
            path,
            {"rpc.system.name": "grpc", "rpc.method": path, tracing.RUN_ID: caller.ids.get("run_id")},
            kind=SpanKind.SERVER,
            parent=caller.parent,
        ) as span,
        usage.accounting() as account,
    ):
        try:
            admit(context)
            yield
        except (asyncio.CancelledError, GeneratorExit):
            status = "CANCELLED"
            raise
        except grpc.aio.AbortError:
            status = "ABORTED"
            raise
        except NotImplementedError as raised:
            # The generated base class has set the code; any other such error is a fault of ours.
            if context.code() is grpc.StatusCode.UNIMPLEMENTED:
                status = "UNIMPLEMENTED"
            else:
                error = _unforeseen(raised, request_id)
                status = error.code.grpc_status
        except ValignError as raised:
            error = raised
            status = error.code.grpc_status
            if isinstance(error, InternalError):
                log.error("rpc.failed", exc_info=error)
        except Exception as raised:
            error = _unforeseen(raised, request_id)
            status = error.code.grpc_status
        finally:
            duration_s = time.perf_counter() - started
            RPC_IN_FLIGHT.labels(service, method).dec()
            RPC_HANDLED.labels(service, method, status).inc()
            RPC_SECONDS.labels(service, method).observe(duration_s)
            span.set_attribute("rpc.response.status_code", status)
            if error is not None:
                tracing.mark_error(span, error.code.value, type(error).__name__)
            log.info("rpc.ended", status=status, duration_s=round(duration_s, 4))
    cost = usage.trailers_of(account)
    if error is not None:
        await context.abort(status_of(error), message_of(error), (*trailers_of(error, request_id), *cost))
    if cost:
        context.set_trailing_metadata(cost)
    if status == "UNIMPLEMENTED":
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"this server does not serve {service}/{method}")


def _unforeseen(raised: Exception, request_id: str) -> InternalError:
    log.exception("rpc.failed")
    error = InternalError(f"internal error; the log has the trace under request id {request_id}")
    error.__cause__ = raised
    return error


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Stands for a message that could not be read."""

    reason: str


def _lenient(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that hands on what it cannot read: what it raised would leave without our code."""
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return _Malformed(str(error))

    return read


def _message(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise InvalidInputError(f"the request is no message of this rpc's type: {request.reason}")
    return request


async def _messages(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _message(request)


def _caller(headers: Mapping[str, str | bytes]) -> _Caller:
    ids = {"request_id": _text(headers.get(REQUEST_ID_HEADER)) or uuid.uuid4().hex}
    run_id = _text(headers.get(RUN_ID_HEADER))
    if _RUN_ID.fullmatch(run_id):
        ids["run_id"] = run_id
    carried = {name: value for name, value in headers.items() if isinstance(value, str)}
    return _Caller(ids, tracing.context_from(carried))


def _text(value: str | bytes | None) -> str:
    """A request id from outside, if it is one that can stand in a log line."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value or ""
    return text if len(text) <= 128 and text.isprintable() else ""
