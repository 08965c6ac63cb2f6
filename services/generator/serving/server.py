"""The HTTP server's life: bind, serve, drain."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn

from services.common.certificates import follow_certificate
from services.common.errors import PreconditionError
from services.generator.serving.face import Face
from services.generator.settings import GeneratorSettings

log = structlog.get_logger(__name__)

_POLL_S = 0.05
# What is still open when the drain time is over is cut after this.
_CUT_AFTER_S = 1


class _Uvicorn(uvicorn.Server):
    """Without its own signal handlers: the process drains as a whole."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """One face on one port. ``port`` is the one that was bound."""

    def __init__(
        self,
        face: Face,
        settings: GeneratorSettings,
        on_stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``on_stop`` is called when nothing is open any more."""
        self._face = face
        self._settings = settings
        self._on_stop = on_stop
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen. PreconditionError: the port is taken, or a certificate cannot be read."""
        settings = self._settings
        listener = _bind(settings.host, settings.http_port)
        config = uvicorn.Config(
            self._face,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            ssl_certfile=settings.http_tls_cert_file,
            ssl_keyfile=settings.http_tls_key_file,
            timeout_graceful_shutdown=_CUT_AFTER_S,
        )
        try:
            config.load()
        except OSError as error:
            listener.close()
            raise PreconditionError(f"the HTTP face's certificate cannot be read: {error}") from error
        certificate, key = settings.http_tls_cert_file, settings.http_tls_key_file
        if config.ssl is not None and certificate is not None and key is not None:
            self._following = asyncio.create_task(follow_certificate(config.ssl, certificate, key))
        self._server = _Uvicorn(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        self.port = int(listener.getsockname()[1])
        scheme = "https" if settings.http_tls_cert_file else "http"
        log.info("http.listening", url=f"{scheme}://{settings.host}:{self.port}/v1")

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new (503 while others are still answered), wait for what is open, and stop."""
        if self._server is None or self._serving is None:
            return
        self._face.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._face.open:  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(_POLL_S)
        if self._face.open:
            log.warning("http.cut", open=self._face.open)
        if self._following is not None:
            self._following.cancel()
        self._server.should_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)
        self._server = self._serving = None
        if self._on_stop is not None:
            await self._on_stop()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Taken over by each connection. asyncio sets it only on sockets that it has made itself; without it the
    # last bytes of an answer wait for the caller's acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host.strip("[]"), port))
        # Listening at once: a second process on the port fails here, and not later.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise PreconditionError(
            f"cannot listen on {host}:{port} (VALIGN_GENERATOR_HTTP_PORT): {error.strerror}"
        ) from error
    return listener
