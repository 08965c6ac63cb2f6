"""An ASGI application in the place of vLLM's server: it answers with what the face has told it."""

import asyncio
import json
from typing import Any

from starlette.types import Receive, Scope, Send

from services.generator.serving.exchange import CURRENT


class FakeOpenAIApp:
    """Words of the prompt, backwards, as one answer or as a stream.

    Attributes:
        gate: while cleared, a stream stops after its first word, and nothing else ends.
        seen: every request's headers, its body, and the adapter that it held.
        fail: status of the next answer instead, or None; ``raises``: an exception instead of an answer.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        """``latency_s``: after each word of a stream, and before a whole answer."""
        self._latency_s = latency_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[tuple[dict[str, str], dict[str, Any], str]] = []
        self.fail: int | None = None
        self.raises: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body = json.loads(message["body"])
        exchange = CURRENT.get()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append((headers, body, exchange.hold.lease.name))
        if self.raises is not None:
            raise self.raises
        if self.fail is not None:
            await _whole(send, self.fail, {"error": {"message": "secret inner words", "code": self.fail}})
            return
        words = _prompt(body).split()[::-1]
        if body.get("stream"):
            await self._stream(send, exchange.model, words)
            return
        await asyncio.sleep(self._latency_s)
        await self.gate.wait()
        choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(words)}}
        await _whole(send, 200, {"model": exchange.model, "choices": [{**choice, "finish_reason": "stop"}]})

    async def _stream(self, send: Send, model: str, words: list[str]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, word in enumerate(words):
            finish = "stop" if number == len(words) - 1 else None
            chunk = {
                "model": model,
                "choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": finish}],
            }
            await _part(send, json.dumps(chunk))
            await asyncio.sleep(self._latency_s)
            await self.gate.wait()
        await _part(send, "[DONE]")
        await send({"type": "http.response.body", "body": b""})


def _prompt(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"] if "messages" in body else body.get("prompt", ""))


async def _part(send: Send, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})


async def _whole(send: Send, status: int, content: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
