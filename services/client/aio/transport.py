"""Requests, retries and streams: everything that speaks HTTP."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.client.errors import UnexpectedAnswerError, UnreachableError
from services.client.retrying import is_retried, retry_after_s
from services.client.settings import LONG_READ_S, SILENCE_S, Settings, raise_for
from services.client.sse import EventParser, ServerSentEvent

_sleep = asyncio.sleep


class AsyncTransport:
    """One connection pool to one orchestrator."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url
        self._retry = settings.retry
        self._http = httpx.AsyncClient(**settings.options())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        changes: bool | None = None,
        key: str = "",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """The answer to a request under ``/v1``, read whole.

        Args:
            path: begins with a slash, without ``/v1``.
            changes: whether the call changes something, so that it needs an idempotency key to be sent again;
                by default all but a GET do.
            key: the idempotency key; by default a new one for each call that changes something.
            options: httpx's (``params``, ``json``, ``content`` …).

        Raises:
            ApiError: the orchestrator refused or failed, after as many attempts as make sense.
            UnreachableError: nothing answered.
        """
        sent = dict(headers or {})
        if method != "GET" if changes is None else changes:
            sent.setdefault("idempotency-key", key or str(uuid.uuid4()))
        attempt = 0
        while True:
            attempt += 1
            told_s = None
            try:
                response = await self._http.request(method, f"/v1{path}", headers=sent, **options)
            except httpx.TransportError as error:
                if not self._retry.may(attempt):
                    raise UnreachableError(self.url, _reason(error)) from error
            else:
                told_s = retry_after_s(response.headers.get("retry-after"))
                if not is_retried(response.status_code, told_s) or not self._retry.may(attempt):
                    raise_for(response)
                    return response
            await _sleep(self._retry.wait_s(attempt, told_s))

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that answers a request."""
        return (await self.request(method, path, **options)).json()

    @asynccontextmanager
    async def stream(
        self, path: str, *, read_s: float = SILENCE_S, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is read as it comes; ``read_s`` seconds of silence end it."""
        timeout = httpx.Timeout(10.0, read=read_s)
        try:
            async with self._http.stream("GET", f"/v1{path}", timeout=timeout, **options) as response:
                if not response.is_success:
                    await response.aread()
                    raise_for(response)
                yield response
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error

    async def lines(self, path: str, **options: Any) -> AsyncIterator[str]:
        """The lines of a text document as they come."""
        async with self.stream(path, **options) as response:
            async for line in response.aiter_lines():
                yield line

    async def events(self, path: str, after: str = "") -> AsyncIterator[ServerSentEvent]:
        """Server-sent events after an id, until the stream ends; UnreachableError if it breaks."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
        parser = EventParser()
        async with self.stream(path, headers=headers) as response:
            async for chunk in response.aiter_text():
                for event in parser.feed(chunk):
                    yield event
            for event in parser.end():
                yield event

    async def download(self, path: str, write: Callable[[bytes], Any]) -> tuple[int, str, str]:
        """Give a file to ``write`` part by part; its size in bytes, its sha256, and the one in its ETag."""
        digest, size_bytes = hashlib.sha256(), 0
        async with self.stream(path, read_s=LONG_READ_S) as response:
            async for part in response.aiter_bytes():
                write(part)
                digest.update(part)
                size_bytes += len(part)
            told = response.headers.get("etag", "").strip('"')
        return size_bytes, digest.hexdigest(), told

    async def checked_download(self, path: str, write: Callable[[bytes], Any]) -> str:
        """The same; UnexpectedAnswerError if the bytes are not those of the ETag. Returns the sha256."""
        _, found, told = await self.download(path, write)
        if told and told != found:
            raise UnexpectedAnswerError(f"{path} came with sha256 {found}, its ETag says {told}")
        return found


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
