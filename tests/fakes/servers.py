"""Real servers on free ports, for tests: uvicorn and gRPC."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import uvicorn

from services.common.rpc.client import open_channel
from services.common.rpc.server import Health, build_server


def free_port() -> int:
    """A port that is free now, for a server that must be told its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Server(uvicorn.Server):
    """Leaves the test runner's signal handlers alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: Any) -> _Server:
    options: dict[str, Any] = {"log_config": None, "ws": "none", "lifespan": "off"}
    config = uvicorn.Config(app, host="127.0.0.1", port=0, timeout_graceful_shutdown=2, **options)
    return _Server(config)


@contextmanager
def http_server_in_thread(app: Any) -> Iterator[str]:
    """As ``http_server``, for tests that have no event loop."""
    server = _server(app)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the HTTP server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def http_server(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI application; yields its base URL."""
    server = _server(app)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the HTTP server did not start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def grpc_channel(
    register: Any, service_name: str, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve what ``register(server)`` adds; yields a channel to it."""
    server = build_server(
        service_names=[service_name], health=Health([service_name]), interceptors=interceptors
    )
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)
