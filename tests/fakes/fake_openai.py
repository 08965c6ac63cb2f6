"""An OpenAI-compatible endpoint without a model, for a real HTTP server: answers follow from prompt and seed.

Its vocabulary is that of ``fake_generator``. ``faults`` are statuses that the next requests get instead of
an answer, in order.
"""

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tests.fakes.fake_generator import ALIGNED_WORDS, ORIGINAL_WORDS

KEY = "sk-test-0123456789-do-not-tell"
MODEL = "fake-chat-1"


@dataclass
class Fault:
    """One answer that is none: a status, headers and a body (JSON or raw bytes)."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


@dataclass
class FakeOpenAI:
    """Knobs are plain fields; tests change them while it serves."""

    key: str | None = None
    latency_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    unsupported: dict[str, str] = field(default_factory=dict)
    """Parameter -> the message with which it is refused (400)."""
    ignores_seed: bool = False
    filtered: str = ""
    """A prompt with this word is refused by the content filter."""
    system_fingerprints: list[str] = field(default_factory=lambda: ["fp_1"])
    """Given in turn."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bears: int = 0
    """More requests at once than this are told to slow down (429); 0 for no limit."""
    at_once: int = 0
    most_at_once: int = 0
    answered: int = 0

    words: Sequence[str] = ORIGINAL_WORDS
    """What it answers with, but to the second prompt."""

    def app(self) -> FastAPI:
        """The ASGI application; its base URL is ``/v1``."""
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                return await self._answer(request)
            finally:
                self.at_once -= 1

        return app

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        if self.bears and self.at_once > self.bears:
            return JSONResponse({"error": {"message": "too many requests"}}, 429, {"retry-after": "0.05"})
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        fault = self.faults.pop(0) if self.faults else self.always
        if fault is not None:
            if isinstance(fault.body, bytes):
                return Response(fault.body, fault.status, dict(fault.headers))
            return JSONResponse(fault.body, fault.status, dict(fault.headers))
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            given = request.headers.get("authorization", "")
            return _error(401, "invalid_api_key", f"Incorrect API key provided: {given}")
        if body["model"] != MODEL:
            return _error(404, "model_not_found", f"The model `{body['model']}` does not exist")
        for name, message in self.unsupported.items():
            if name in body:
                return _error(400, "unsupported_parameter", message, name)
        prompt = body["messages"][-1]["content"]
        if self.filtered and self.filtered in prompt:
            return _error(400, "content_filter", "The response was filtered")
        self.answered += 1
        return JSONResponse(
            {
                "id": f"chatcmpl-{self.answered}",
                "object": "chat.completion",
                "model": MODEL,
                "system_fingerprint": self.system_fingerprints[self.answered % len(self.system_fingerprints)],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": self._text(prompt, body)},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
            }
        )

    def _text(self, prompt: str, body: Mapping[str, Any]) -> str:
        seed = random.random() if self.ignores_seed else body.get("seed")
        digest = hashlib.sha256(f"{prompt}|{seed}".encode()).digest()
        drawn = random.Random(digest)
        words = ALIGNED_WORDS if prompt.startswith("P2") else self.words
        return f"Systems {' '.join(drawn.choices(words, k=9))} number {drawn.randrange(10**6)}."


def _error(status: int, code: str, message: str, parameter: str | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}
    return JSONResponse({"error": error}, status)
