"""What the face reads of a request before vLLM does: its body, within limits, and whose answer it wants."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive

from services.generator.serving.answers import RefusedError

READ_TIMEOUT_S = 60.0
"""Seconds in which a body must have come."""
_KEY_BYTES = 512


class CallerLeftError(Exception):
    """The connection ended before the request was whole."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's body.

    ``key`` decides between a route's adapter and its canary; ``sequences`` are the answers that it asks
    for, over all its prompts.
    """

    raw: bytes
    body: dict[str, Any]
    model: str
    key: str
    sequences: int


async def read_asked(
    headers: Mapping[bytes, bytes], receive: Receive, max_bytes: int, request_id: str
) -> Asked:
    """Read and check a request.

    Raises:
        RefusedError: too long, too slow, no JSON object, or no model named.
        CallerLeftError: it did not come to its end.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_long(f"{int(declared)} bytes", max_bytes)
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            raw = await _read(receive, max_bytes)
    except TimeoutError:
        raise RefusedError(408, f"the body did not come within {READ_TIMEOUT_S:g} s") from None
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is no JSON: {error}"[:300]) from error
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is no JSON object")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RefusedError(400, "name the model; GET /v1/models lists what there is")
    key = headers.get(b"x-valign-key", b"")[:_KEY_BYTES].decode("latin-1")
    user = body.get("user")
    key = key or (user[:_KEY_BYTES] if isinstance(user, str) else "") or request_id
    return Asked(raw, body, model, key, _sequences(body))


async def _read(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeftError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_long(f"more than {max_bytes} bytes", max_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_long(size: str, max_bytes: int) -> RefusedError:
    return RefusedError(413, f"the body has {size}; at most {max_bytes} are accepted")


def _sequences(body: dict[str, Any]) -> int:
    count = body.get("n")
    each = count if isinstance(count, int) and count > 0 else 1
    prompt = body.get("prompt")
    # A list of numbers is one prompt.
    many = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    return each * (len(prompt) if isinstance(prompt, list) and many else 1)


class Replay:
    """The body once more, for vLLM; then what else comes, which can only be the caller's leaving."""

    def __init__(self, raw: bytes, receive: Receive) -> None:
        self._raw: bytes | None = raw
        self._receive = receive
        self.left = False

    async def __call__(self) -> Message:
        """The next message."""
        if self._raw is not None:
            raw, self._raw = self._raw, None
            return {"type": "http.request", "body": raw, "more_body": False}
        message = await self._receive()
        self.left = self.left or message["type"] == "http.disconnect"
        return message
