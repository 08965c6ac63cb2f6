"""The REST face of a world, served in a thread: for what is synchronous, or another process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.fakes.servers import http_server


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Its base URL, while the block lasts."""
    ready, done = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with http_server(app) as url:
            urls.append(url)
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20), "the HTTP server did not start"
        yield urls[0]
    finally:
        done.set()
        thread.join(20)
