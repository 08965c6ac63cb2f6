"""Requests, retries and streams: everything that speaks HTTP."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from services.client.errors import UnexpectedAnswerError, UnreachableError
from services.client.retrying import is_retried, retry_after_s
from services.client.settings import LONG_READ_S, SILENCE_S, Settings, raise_for
from services.client.sse import EventParser, ServerSentEvent

_sleep = time.sleep


class Transport:
    """One connection pool to one orchestrator."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url
        self._retry = settings.retry
        self._http = httpx.Client(**settings.options())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
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
                response = self._http.request(method, f"/v1{path}", headers=sent, **options)
            except httpx.TransportError as error:
                if not self._retry.may(attempt):
                    raise UnreachableError(self.url, _reason(error)) from error
            else:
                told_s = retry_after_s(response.headers.get("retry-after"))
                if not is_retried(response.status_code, told_s) or not self._retry.may(attempt):
                    raise_for(response)
                    return response
            _sleep(self._retry.wait_s(attempt, told_s))

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON that answers a request."""
        return (self.request(method, path, **options)).json()

    @contextmanager
    def stream(self, path: str, *, read_s: float = SILENCE_S, **options: Any) -> Iterator[httpx.Response]:
        """An answer whose body is read as it comes; ``read_s`` seconds of silence end it."""
        timeout = httpx.Timeout(10.0, read=read_s)
        try:
            with self._http.stream("GET", f"/v1{path}", timeout=timeout, **options) as response:
                if not response.is_success:
                    response.read()
                    raise_for(response)
                yield response
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error

    def lines(self, path: str, **options: Any) -> Iterator[str]:
        """The lines of a text document as they come."""
        with self.stream(path, **options) as response:
            for line in response.iter_lines():
                yield line

    def events(self, path: str, after: str = "") -> Iterator[ServerSentEvent]:
        """Server-sent events after an id, until the stream ends; UnreachableError if it breaks."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
        parser = EventParser()
        with self.stream(path, headers=headers) as response:
            for chunk in response.iter_text():
                for event in parser.feed(chunk):
                    yield event
            for event in parser.end():
                yield event

    def download(self, path: str, write: Callable[[bytes], Any]) -> tuple[int, str, str]:
        """Give a file to ``write`` part by part; its size in bytes, its sha256, and the one in its ETag."""
        digest, size_bytes = hashlib.sha256(), 0
        with self.stream(path, read_s=LONG_READ_S) as response:
            for part in response.iter_bytes():
                write(part)
                digest.update(part)
                size_bytes += len(part)
            told = response.headers.get("etag", "").strip('"')
        return size_bytes, digest.hexdigest(), told

    def checked_download(self, path: str, write: Callable[[bytes], Any]) -> str:
        """The same; UnexpectedAnswerError if the bytes are not those of the ETag. Returns the sha256."""
        _, found, told = self.download(path, write)
        if told and told != found:
            raise UnexpectedAnswerError(f"{path} came with sha256 {found}, its ETag says {told}")
        return found


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
