"""Construction of gRPC channels, and retries for idempotent calls."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from services.common.errors import NotReadyError, ValignError
from services.common.rpc.observed import ObservedChannel
from services.common.rpc.server import MAX_MESSAGE_BYTES
from services.common.rpc.status import as_stream_error, as_valign_error

__all__ = [
    "as_stream_error",
    "as_valign_error",
    "call",
    "open_channel",
    "retry",
    "translated",
    "wait_until_serving",
]

log = structlog.get_logger(__name__)

T = TypeVar("T")


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None = None, *, server_name: str = ""
) -> grpc.aio.Channel:
    """A channel to ``host:port``; connections are made when the first call needs one.

    ``credentials`` are those of ``tls.channel_credentials``; None speaks in the clear. ``server_name`` is the
    name that the server's certificate must have; empty for the host of ``target``. Trace, run id and request
    id travel with each call.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # gRPC waits a minute for the answer to any of its pings unless it is told otherwise.
        ("grpc.http2.ping_timeout_ms", 10_000),
        # A service that restarts should be found again within a second or two.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Loopback and cluster addresses must not be sent through a proxy.
        ("grpc.enable_http_proxy", 0),
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    if credentials is not None:
        if server_name:
            options.append(("grpc.ssl_target_name_override", server_name))
        return ObservedChannel(grpc.aio.secure_channel(target, credentials, options=options))
    return ObservedChannel(grpc.aio.insecure_channel(target, options=options))


@contextmanager
def translated(
    target: str = "the service", convert: Callable[[grpc.aio.AioRpcError], ValignError] = as_valign_error
) -> Iterator[None]:
    """Failures of gRPC calls as ValignError.

    A channel that somebody else closes cancels its calls, which looks like a cancellation of whoever waits
    for them, and refuses new ones with a UsageError. Both are NotReadyError here; only a cancellation of the
    running task itself stays one.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise convert(error) from error
    except grpc.aio.UsageError as error:
        raise NotReadyError(f"the connection to {target} is closed") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise NotReadyError(f"the connection to {target} was closed") from error


async def call(rpc: Callable[..., Awaitable[T]], request: Any, *, timeout_s: float) -> T:
    """One unary call with a deadline; failures are raised as ValignError."""
    with translated():
        return await rpc(request, timeout=timeout_s)


def _can_succeed_later(error: BaseException) -> bool:
    return isinstance(error, ValignError) and error.code.retryable


async def retry(attempt: Callable[[], Awaitable[T]], *, attempts: int = 5, max_wait_s: float = 10.0) -> T:
    """Repeat an *idempotent* call while it fails with a retryable code; the last error is raised.

    Args:
        attempt: makes the call anew each time; must raise ValignError.
        attempts: most calls.
        max_wait_s: longest pause; pauses grow exponentially with full jitter.
    """
    async for trial in AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=0.2, max=max_wait_s),
        retry=retry_if_exception(_can_succeed_later),
        reraise=True,
    ):
        with trial:
            return await attempt()
    raise AssertionError("unreachable: reraise is set")


async def wait_until_serving(target: str, timeout_s: float, service: str = "") -> None:
    """Wait until ``grpc.health.v1`` reports SERVING.

    Raises:
        NotReadyError: it did not within ``timeout_s`` seconds; the message names the last answer.
    """
    deadline = time.monotonic() + timeout_s
    last = "no answer"
    async with open_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=2.0)
                last = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
            except grpc.aio.AioRpcError as error:
                last = error.code().name
            if last == "SERVING":
                return
            await asyncio.sleep(0.2)
    raise NotReadyError(f"{target} is not serving after {timeout_s:g} s (last answer: {last})")
