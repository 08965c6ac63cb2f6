"""A TCP proxy with a bad line: slow, in crumbs, cut, or silent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

_CRUMBS_BYTES = 20_000
_PART = 65_536


class Proxy:
    """Stands before ``host:port``. What it does is in plain fields, which tests change while it runs.

    Attributes:
        delay_s: how long each piece is under way, in each direction; pieces overtake nobody, and several
            can be under way.
        crumbs: pieces are written byte by byte (the first 20 kB of a connection, which is every frame's
            header at least once).
        silent: connections are accepted and nothing is passed on.
        connections: how many there have been.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.delay_s = 0.0
        self.crumbs = False
        self.connections = 0
        self.address = ""

    @property
    def silent(self) -> bool:
        return not self._speaks.is_set()

    @silent.setter
    def silent(self, value: bool) -> None:
        if value:
            self._speaks.clear()
        else:
            self._speaks.set()

    async def start(self) -> None:
        """Listen on a free port: ``address``."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection in the middle of what it carries."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            back, other = await asyncio.open_connection(*self._target)
            self._writers.add(other)
            both = [
                asyncio.create_task(self._pass_on(reader, other)),
                asyncio.create_task(self._pass_on(back, writer)),
            ]
            # An end that is gone takes the other with it.
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for direction in both:
                direction.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            # Nobody there, or ``stop``: asyncio's own callback would log what this task raises.
            pass
        finally:
            for end in (writer, other):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        clock = asyncio.get_running_loop()

        async def read() -> None:
            while piece := await reader.read(_PART):
                pieces.put_nowait((clock.time() + self.delay_s, piece))
            pieces.put_nowait((clock.time() + self.delay_s, b""))

        async def write() -> None:
            crumbs_left = _CRUMBS_BYTES
            while True:
                due, piece = await pieces.get()
                await self._speaks.wait()
                await asyncio.sleep(max(0.0, due - clock.time()))
                if not piece:
                    return
                while self.crumbs and piece and crumbs_left > 0:
                    writer.write(piece[:1])
                    await writer.drain()
                    piece = piece[1:]
                    crumbs_left -= 1
                writer.write(piece)
                await writer.drain()

        reading = asyncio.create_task(read())
        try:
            await write()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@contextlib.asynccontextmanager
async def proxy(target: str) -> AsyncIterator[Proxy]:
    """A proxy before a target while the block runs."""
    found = Proxy(target)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()
