"""Etags (RFC 9110 section 8.8.3): what was seen, so that it need not be sent again, or must not have changed.

An ``ETag`` of ours is ``"<etag>.<digest>"`` for what can be changed, where ``etag`` is the resource's own
field, and ``"<digest>"`` for the rest. ``If-None-Match`` compares the whole; ``If-Match`` the part before the
dot, so that what nobody decided (a replica's report, a run's progress) makes nobody's decision stale.
"""

import hashlib
import re
from typing import Annotated

from fastapi import Header, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.errors import InvalidInputError

REVALIDATE = "private, no-cache"
IMMUTABLE = "private, max-age=31536000, immutable"
_MAX_CHARACTERS = 4096
_TAG = re.compile(r'\s*((?:W/)?)"([\x21\x23-\x7e\x80-\xff]*)"\s*')

IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        description="The resource's `etag` or `ETag` as it was seen, in quotes; 412 if it has changed since. "
        "Several are separated by commas; `*` and nothing at all match anything.",
        max_length=_MAX_CHARACTERS,
    ),
]


def quoted(etag: str) -> str:
    """An etag as a header spells it."""
    return f'"{etag}"'


def told(response: Response, etag: str) -> None:
    """Say the etag of what is answered; the middleware adds the digest of the body."""
    response.headers["etag"] = quoted(etag)


def expected_etags(if_match: str) -> tuple[str, ...] | None:
    """The etags that an ``If-Match`` accepts; None if it accepts any. Weak ones match nothing (RFC 9110).

    InvalidInputError for what is no list of etags.
    """
    if if_match.strip() in ("", "*"):
        return None
    found = []
    for weak, opaque in _tags(if_match):
        if not weak:
            found += [opaque, opaque.partition(".")[0]]
    return tuple(dict.fromkeys(found))


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names the etag (weak comparison, RFC 9110 section 13.1.2).

    What is no list of etags names none: the answer is then simply sent.
    """
    if if_none_match.strip() == "*":
        return True
    try:
        return any(opaque == etag for _, opaque in _tags(if_none_match))
    except InvalidInputError:
        return False


def _tags(header: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(header):
        tag = _TAG.match(header, at)
        if tag is None or (tag.end() < len(header) and header[tag.end()] != ","):
            raise InvalidInputError(f"{header[:80]!r} is no list of etags; an etag stands in double quotes")
        found.append((tag[1], tag[2]))
        at = tag.end() + 1
    return found


class ConditionalMiddleware:
    """Gives every answer to a GET under ``/v1`` that is sent in one piece a strong ETag, and answers 304."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything but a GET passes."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/v1"):
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(b"if-none-match", b"").decode("latin-1")
        await self._app(scope, receive, _Tagged(send, asked))


class _Tagged:
    def __init__(self, send: Send, if_none_match: str) -> None:
        self._send = send
        self._if_none_match = if_none_match
        self._held: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._held = message
            return
        if self._held is not None:
            held, self._held = self._held, None
            if message.get("more_body", False):
                # A stream: whoever makes it knows its tag, if it has one.
                await self._send(held)
            else:
                held, message = self._tagged(held, message)
                await self._send(held)
        await self._send(message)

    def _tagged(self, start: Message, body: Message) -> tuple[Message, Message]:
        headers = dict(start["headers"])
        control = headers.setdefault(b"cache-control", REVALIDATE.encode())
        own = headers.get(b"etag", b"").decode("latin-1").strip('"')
        if not own or b"immutable" not in control:
            digest = hashlib.sha256(body.get("body", b"")).hexdigest()
            own = f"{own}.{digest[:16]}" if own else digest
        headers[b"etag"] = quoted(own).encode("latin-1")
        if matches(self._if_none_match, own):
            kept = [(name, value) for name, value in headers.items() if name in (b"etag", b"cache-control")]
            return {**start, "status": 304, "headers": kept}, {**body, "body": b""}
        return {**start, "headers": list(headers.items())}, body
