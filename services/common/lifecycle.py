"""The life of a gRPC service process: serve, drain on SIGTERM or SIGINT, stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import grpc
import structlog

from services.common.errors import PreconditionError, ValignError
from services.common.metrics import serve_metrics
from services.common.rpc.fence import Fence
from services.common.rpc.server import Health, build_server
from services.common.settings import ServiceSettings

log = structlog.get_logger(__name__)


def stop_event() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT of this process sets. Call it in the running loop."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event


async def start_server(
    settings: ServiceSettings,
    *,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    health: Health,
    fence: Fence | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Bind and start; returns the server and its port (the setting, or the one chosen for 0).

    Raises:
        PreconditionError: the port is taken.
    """
    server = build_server(
        service_names=service_names, health=health, reflection_enabled=settings.reflection, fence=fence
    )
    register(server)
    address = f"{settings.host}:{settings.port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise PreconditionError(f"cannot listen on {address}: is another process using it?") from error
    await server.start()
    return server, port


async def run_service(
    *,
    name: str,
    settings: ServiceSettings,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    start: Callable[[Health], Coroutine[Any, Any, None]],
    stop: Callable[[], Awaitable[None]],
    fence: Fence | None = None,
) -> None:
    """Serve until a signal comes, then drain.

    The port opens first (health says NOT_SERVING), then ``start`` loads what there is to load
    and sets the health itself. If ``start`` or the port fails with an error that we foresee, the
    process says so in one line and exits with status 1. On a signal health turns NOT_SERVING
    before anything else, calls in flight get ``settings.drain_timeout_s`` seconds, and ``stop``
    releases what ``start`` took.
    """
    try:
        await _serve(name, settings, service_names, register, start, stop, fence)
    except ValignError as error:
        log.error("service.failed", name=name, code=error.code.value, reason=error.message)
        raise SystemExit(1) from error


async def _serve(
    name: str,
    settings: ServiceSettings,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    start: Callable[[Health], Coroutine[Any, Any, None]],
    stop: Callable[[], Awaitable[None]],
    fence: Fence | None,
) -> None:
    stopping = stop_event()
    health = Health(service_names)
    await health.set_serving(False)
    server, port = await start_server(
        settings, service_names=service_names, register=register, health=health, fence=fence
    )
    serve_metrics(settings.host, settings.metrics_port)
    log.info("service.listening", name=name, host=settings.host, port=port)
    starting = asyncio.create_task(start(health))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopped
        else:
            starting.cancel()
    finally:
        log.info("service.draining", name=name, timeout_s=settings.drain_timeout_s)
        await health.set_serving(False)
        await server.stop(settings.drain_timeout_s)
        stopped.cancel()
        await stop()
        log.info("service.stopped", name=name)
