"""From the bytes of a request and its answer to the exchange that a monitor sees."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from services.generator.serving.traffic import Observed, now_ms

MAX_ANSWER_BYTES = 512 * 1024
"""Longest answer that is looked at; a longer one is dropped."""


def observe(
    request_id: str, adapter: str, body: Mapping[str, Any], answer: bytes, *, streamed: bool
) -> Observed | None:
    """The exchange: its first prompt and first choice.

    None for what holds no text that can be read: prompts of token ids, pictures, an answer that was cut.
    """
    messages = _messages(body)
    try:
        found = _streamed(answer) if streamed else _whole(answer)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not messages or found is None:
        return None
    text, finish_reason = found
    return Observed(request_id, messages, text, finish_reason, adapter, now_ms())


def _messages(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if "messages" not in body:
        prompt = body.get("prompt")
        first = prompt[0] if isinstance(prompt, list) and prompt else prompt
        return (("user", first),) if isinstance(first, str) else ()
    turns = body["messages"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return ()
    return tuple((str(turn.get("role", "")), _content(turn.get("content"))) for turn in turns)


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts: Iterable[Any] = content if isinstance(content, list) else ()
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _whole(answer: bytes) -> tuple[str, str]:
    choice = json.loads(answer)["choices"][0]
    text = choice["message"].get("content") if "message" in choice else choice["text"]
    return text or "", choice.get("finish_reason") or ""


def _streamed(answer: bytes) -> tuple[str, str] | None:
    texts: list[str] = []
    finish_reason = ""
    done = False
    for line in answer.split(b"\n"):
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            done = True
            break
        chunk = json.loads(data)
        if "error" in chunk:
            return None
        for choice in chunk.get("choices", ()):
            if choice.get("index", 0) == 0:
                delta = choice.get("delta")
                text = choice.get("text") if delta is None else delta.get("content")
                texts.append(text or "")
                finish_reason = choice.get("finish_reason") or finish_reason
    return ("".join(texts), finish_reason) if done else None
