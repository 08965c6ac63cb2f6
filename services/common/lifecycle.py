"""The life of a gRPC service process: serve, drain on SIGTERM or SIGINT, stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import grpc
import structlog

from services.common.errors import PreconditionError, ValignError
from services.common.metrics import serve_metrics, tell_build
from services.common.rpc.fence import Fence
from services.common.rpc.peers import Peers
from services.common.rpc.server import Health, build_health_server, build_server
from services.common.rpc.tls import server_credentials
from services.common.settings import ServiceSettings
from services.common.tracing import start_tracing

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
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    client_certificates: bool = True,
) -> tuple[grpc.aio.Server, int]:
    """Bind and start; returns the server and its port (the setting, or the one chosen for 0).

    With ``tls_cert_file`` it speaks TLS; with ``tls_ca_file`` too it asks for a certificate of the client,
    unless ``client_certificates`` is False (a server that asks for other credentials).

    Raises:
        PreconditionError: the port is taken, or a certificate cannot be read.
    """
    server = build_server(
        service_names=service_names,
        health=health,
        reflection_enabled=settings.reflection,
        fence=fence,
        peers=Peers(settings.tls_client_names if client_certificates else ()),
        interceptors=interceptors,
        max_concurrent_rpcs=settings.max_concurrent_rpcs,
    )
    register(server)
    credentials = server_credentials(settings, client_certificates=client_certificates)
    port = _bind(server, settings.host, settings.port, credentials)
    await server.start()
    return server, port


async def start_health_server(settings: ServiceSettings, health: Health) -> grpc.aio.Server | None:
    """The server of ``health_port``, which knows health alone and speaks in the clear; None for port 0.

    Raises:
        PreconditionError: the port is taken.
    """
    if settings.health_port == 0:
        return None
    server = build_health_server(health)
    _bind(server, settings.host, settings.health_port, None)
    await server.start()
    return server


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise PreconditionError(f"cannot listen on {address}: is another process using it?") from error


async def run_service(
    *,
    name: str,
    settings: ServiceSettings,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    start: Callable[[Health], Coroutine[Any, Any, None]],
    stop: Callable[[], Awaitable[None]],
    fence: Fence | None = None,
    drain: Callable[[float], Awaitable[None]] | None = None,
) -> None:
    """Serve until a signal comes, then drain.

    The port opens first (health says NOT_SERVING), then ``start`` loads what there is to load
    and sets the health itself. If ``start`` or the port fails with an error that we foresee, the
    process says so in one line and exits with status 1. On a signal health turns NOT_SERVING
    before anything else, calls in flight get ``settings.drain_timeout_s`` seconds, and ``stop``
    releases what ``start`` took. ``drain`` does the same, at the same time, for another server of the
    process: it is given those seconds.
    """
    tell_build(name)
    tracing = start_tracing(name, settings)
    try:
        await _serve(name, settings, service_names, register, start, stop, fence, drain)
    except ValignError as error:
        log.error("service.failed", name=name, code=error.code.value, reason=error.message)
        raise SystemExit(1) from error
    finally:
        await asyncio.to_thread(tracing.close)


async def _serve(
    name: str,
    settings: ServiceSettings,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    start: Callable[[Health], Coroutine[Any, Any, None]],
    stop: Callable[[], Awaitable[None]],
    fence: Fence | None,
    drain: Callable[[float], Awaitable[None]] | None,
) -> None:
    stopping = stop_event()
    health = Health(service_names)
    await health.set_serving(False)
    server, port = await start_server(
        settings, service_names=service_names, register=register, health=health, fence=fence
    )
    probed = await start_health_server(settings, health)
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
        draining = [] if drain is None else [drain(settings.drain_timeout_s)]
        await asyncio.gather(server.stop(settings.drain_timeout_s), *draining)
        if probed is not None:
            await probed.stop(None)
        stopped.cancel()
        await stop()
        log.info("service.stopped", name=name)
