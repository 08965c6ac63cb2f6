"""An ASGI application in the place of vLLM's server: it answers with what the face has told it."""

import asyncio
import json
from typing import Any

from starlette.types import Receive, Scope, Send

from services.common.errors import NotReadyError
from services.generator.serving.exchange import CURRENT, Part


class FakeOpenAIApp:
    """Words of the prompt, backwards, as one answer or as a stream.

    Attributes:
        gate: while cleared, a stream stops after its first word, and nothing else ends.
        seen: every request's headers, its body, and the adapter that it held.
        fail: status of the next answer instead, or None; ``raises``: an exception instead of an answer.
        attached: False while there is an engine that it does not have yet.
        breaks: an exception after the first word of a stream, told in the stream as vLLM's server does.
    """

    def __init__(self, latency_s: float = 0.0) -> None:
        """``latency_s``: after each word of a stream, and before a whole answer."""
        self._latency_s = latency_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.seen: list[tuple[dict[str, str], dict[str, Any], str]] = []
        self.fail: int | None = None
        self.raises: Exception | None = None
        self.breaks: Exception | None = None
        self.attached = True

    def check(self) -> None:
        """As the real one, of ``attached``."""
        if not self.attached:
            raise NotReadyError("no engine is attached")

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
        part = Part()
        exchange.parts.append(part)
        if body.get("stream"):
            await self._stream(receive, send, exchange.model, words, part)
            return
        await asyncio.sleep(self._latency_s)
        await self.gate.wait()
        _tell(part, words)
        choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(words)}}
        await _whole(send, 200, {"model": exchange.model, "choices": [{**choice, "finish_reason": "stop"}]})

    async def _stream(self, receive: Receive, send: Send, model: str, words: list[str], part: Part) -> None:
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
            if not await self._goes_on(receive):
                return
            if self.breaks is not None:
                part.error = type(self.breaks).__name__
                await _part(send, json.dumps({"error": {"message": "EngineCore died", "code": 500}}))
                break
        else:
            _tell(part, words)
        await _part(send, "[DONE]")
        await send({"type": "http.response.body", "body": b""})

    async def _goes_on(self, receive: Receive) -> bool:
        """Wait at the gate; False if the caller left meanwhile."""
        if self.gate.is_set():
            return True
        waiting = [asyncio.ensure_future(self.gate.wait()), asyncio.ensure_future(receive())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        return self.gate.is_set()


def _prompt(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"] if "messages" in body else body.get("prompt", ""))


def _tell(part: Part, words: list[str]) -> None:
    """As ``EngineClient`` does when the engine has ended."""
    part.prompt_tokens, part.generated_tokens, part.ended = 2 * len(words), len(words), True
    part.reasons[0] = "stop"


async def _part(send: Send, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})


async def _whole(send: Send, status: int, content: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
