"""A receiver of webhooks: remembers what it was sent, and answers as the test wants it."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def signed_by(self, secret: str) -> bool:
        """By the words of the Standard Webhooks specification, and by none of valign's code."""
        key = base64.b64decode(secret.split("_", 1)[1])
        text = self.headers["webhook-id"] + "." + self.headers["webhook-timestamp"] + "."
        made = base64.b64encode(hmac.new(key, text.encode() + self.body, hashlib.sha256).digest()).decode()
        return "v1," + made in self.headers["webhook-signature"].split(" ")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets. ``wait_s`` comes first; ``stall`` never ends the body."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait_s: float = 0.0
    stall: bool = False


class Receiver:
    """An ASGI application. ``answers`` by path: those that come next, one a request; then 204."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.always: dict[str, Answer] = {}

    def of(self, path: str) -> list[Received]:
        return [one for one in self.received if one.path == path]

    def ids(self, path: str) -> list[str]:
        return [one.event["id"] for one in self.of(path)]

    async def until(self, ready: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until the test's condition holds."""
        async with asyncio.timeout(timeout_s):
            while not ready():
                await asyncio.sleep(0.01)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert (scope["type"], scope["method"]) == ("http", "POST")
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.received.append(Received(path, headers, body))
        answer = self.answers[path].pop(0) if self.answers[path] else self.always.get(path, Answer())
        with suppress(TimeoutError):
            # The answer waits, but for nobody.
            async with asyncio.timeout(answer.wait_s):
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
        sent = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": answer.body, "more_body": answer.stall})
        while answer.stall and (await receive())["type"] != "http.disconnect":
            pass
