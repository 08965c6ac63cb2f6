"""The answer on its way out: our headers on it, a faulty one held back, and a copy where one is watched."""

import json
from collections.abc import Awaitable

from starlette.types import Message, Send

from services.generator.serving.observed import MAX_ANSWER_BYTES

_FAULT = 500
_NOT_IMPLEMENTED = 501
_MOST_REASON = 4096


class Answer:
    """Stands where ``send`` was.

    Attributes:
        status: what was sent; None before.
        fault: the status of an answer of vLLM's that was held back, or None. Its text may tell what is
            nobody's business; the caller gets ours.
        streamed: whether it is a stream of events.
        whole: whether its last byte was sent.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._headers = [(b"x-request-id", request_id.encode("latin-1"))]
        self._kept: list[bytes] | None = None
        self._kept_bytes = 0
        self._reason = b""
        self.passing = False
        self.status: int | None = None
        self.fault: int | None = None
        self.streamed = False
        self.whole = False

    def add_headers(self, headers: dict[str, str]) -> None:
        """Put these on the answer, which has not begun."""
        self._headers += [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]

    def keep(self) -> None:
        """Keep a copy, up to ``MAX_ANSWER_BYTES``."""
        self._kept = []

    @property
    def kept(self) -> bytes | None:
        """The copy; None if there is none, or the answer was too long."""
        if self._kept is None or self._kept_bytes > MAX_ANSWER_BYTES:
            return None
        return b"".join(self._kept)

    @property
    def reason(self) -> str:
        """What a held back answer said, for the log."""
        try:
            return str(json.loads(self._reason)["error"]["message"])[:300]
        except (ValueError, LookupError, TypeError):
            return self._reason[:300].decode("utf-8", "replace")

    def __call__(self, message: Message) -> Awaitable[None]:
        """Pass one message on. Not a coroutine: a stream's every chunk comes through here."""
        if message["type"] == "http.response.start":
            return self._start(message)
        if self.fault is not None and self.passing:
            return self._hold_back(message)
        if self._kept is not None:
            self._copy(message)
        if not message.get("more_body", False):
            self.whole = True
        return self._send(message)

    async def _start(self, message: Message) -> None:
        status = message["status"]
        if self.passing and status >= _FAULT and status != _NOT_IMPLEMENTED:
            self.fault = status
            return
        self.status = status
        given = message.get("headers", ())
        self.streamed = any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in given
        )
        await self._send({**message, "headers": [*given, *self._headers]})

    async def _hold_back(self, message: Message) -> None:
        if len(self._reason) < _MOST_REASON:
            self._reason += message.get("body", b"")

    def _copy(self, message: Message) -> None:
        body = message.get("body", b"")
        self._kept_bytes += len(body)
        if self._kept is not None and self._kept_bytes <= MAX_ANSWER_BYTES:
            self._kept.append(body)
