"""What a monitor is shown of a request and its answer."""

import json
from typing import Any

import pytest

from services.generator.serving.observed import observe


def sse(*chunks: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def chat(text: str | None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}


CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


def test_stream_is_put_together_and_other_choices_are_left_out() -> None:
    answer = sse(chat("You "), chat("We", index=1), chat("shall"), chat(None, "length"), {"choices": []})
    seen = observe("r", "a", CHAT, answer, streamed=True)
    assert seen is not None
    assert (seen.text, seen.finish_reason, seen.messages) == ("You shall", "length", (("user", "Hi"),))


def test_completion_stream_and_whole_answers_are_read() -> None:
    parts = sse({"choices": [{"index": 0, "text": "a", "finish_reason": None}]}, {"choices": [{"text": "b"}]})
    streamed = observe("r", "", {"prompt": ["One", "Two"]}, parts, streamed=True)
    assert streamed is not None
    assert (streamed.text, streamed.messages) == ("ab", (("user", "One"),))
    whole = json.dumps({"choices": [{"text": "c", "finish_reason": "stop"}, {"text": "d"}]}).encode()
    seen = observe("r", "", {"prompt": "One"}, whole, streamed=False)
    assert seen is not None
    assert (seen.text, seen.finish_reason) == ("c", "stop")
    tool = json.dumps({"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]}).encode()
    called = observe("r", "", CHAT, tool, streamed=False)
    assert called is not None
    assert (called.text, called.finish_reason) == ("", "tool_calls")


def test_parts_of_a_turn_are_joined() -> None:
    content = [{"type": "text", "text": "One "}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    seen = observe(
        "r", "", {"messages": [{"role": "user", "content": content}]}, sse(chat("x")), streamed=True
    )
    assert seen is not None
    assert seen.messages == (("user", "One two"),)


@pytest.mark.parametrize(
    ("body", "answer", "streamed"),
    [
        (CHAT, sse(chat("cut"), done=False), True),
        (CHAT, sse({"error": {"message": "x"}}), True),
        (CHAT, b"data: {no json\n\ndata: [DONE]\n\n", True),
        (CHAT, b"data: 5\n\ndata: [DONE]\n\n", True),
        (CHAT, b"{}", False),
        (CHAT, b"", False),
        ({"prompt": [1, 2]}, sse(chat("x")), True),
        ({"prompt": []}, sse(chat("x")), True),
        ({"messages": "x"}, sse(chat("x")), True),
        ({"messages": ["x"]}, sse(chat("x")), True),
        ({"messages": []}, sse(chat("x")), True),
    ],
)
def test_what_cannot_be_read_is_not_shown(body: dict[str, Any], answer: bytes, streamed: bool) -> None:
    assert observe("r", "", body, answer, streamed=streamed) is None
