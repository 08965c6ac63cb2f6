"""A channel whose calls are seen: a client span, and the ids of run and request, travel with each.

It wraps the stubs' callables and leaves the calls themselves alone. grpc.aio's own client interceptors put a
call of another class, with a task of its own, between the caller and a stream, and change how it is
cancelled; what is wanted here is only metadata at the begin and the status at the end.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from services.common import tracing, usage
from services.common.rpc.status import REQUEST_ID_HEADER

RUN_ID_HEADER = "valign-run-id"
_QUIET = "/grpc."


class ObservedChannel(grpc.aio.Channel):
    """Passes everything on to ``channel``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __aenter__(self) -> "ObservedChannel":
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._channel.__aexit__(*raised)

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _observed(self._channel.unary_unary(method, *args, **kwargs), method)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _observed(self._channel.unary_stream(method, *args, **kwargs), method)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _observed(self._channel.stream_unary(method, *args, **kwargs), method)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _observed(self._channel.stream_stream(method, *args, **kwargs), method)


def _observed(rpc: Callable[..., Any], method: str) -> Callable[..., Any]:
    if method.startswith(_QUIET):
        return rpc
    path = method.lstrip("/")
    service = path.partition("/")[0]

    def begin(*args: Any, metadata: Any = None, **kwargs: Any) -> Any:
        span = tracing.tracer().start_span(
            path, kind=SpanKind.CLIENT, attributes={"rpc.system.name": "grpc", "rpc.method": path}
        )
        with trace.use_span(span, end_on_exit=False):
            sent = (*(metadata or ()), *_ids(), *tracing.carrier().items())
        try:
            call = rpc(*args, metadata=sent or None, **kwargs)
        except BaseException as error:
            tracing.mark_error(span, type(error).__name__)
            span.end()
            raise
        call.add_done_callback(partial(_ended, span, service, usage.collector()))
        return call

    return begin


def _ids() -> list[tuple[str, str]]:
    bound = structlog.contextvars.get_contextvars()
    known = ((RUN_ID_HEADER, bound.get("run_id")), (REQUEST_ID_HEADER, bound.get("request_id")))
    return [(name, str(value)) for name, value in known if value]


def _ended(span: Span, service: str, collect: usage.OnUsage | None, call: Any) -> None:
    code = _known_now(call.code())
    if span.is_recording() and code is not None:
        span.set_attribute("rpc.response.status_code", code.name)
        # Who cancels has what it wanted; whom it was cut off from sees an error of its own.
        if code not in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
            tracing.mark_error(span, code.name)
    span.end()
    if collect is not None and (spent := usage.usage_from(_known_now(call.trailing_metadata()) or ())):
        collect(service, spent)


def _known_now(question: Coroutine[Any, Any, Any]) -> Any:
    """What a call that has ended answers without waiting; None if it would have to wait."""
    try:
        question.send(None)
    except StopIteration as answered:
        return answered.value
    question.close()
    return None
