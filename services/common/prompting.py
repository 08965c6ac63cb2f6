"""From a conversation to token ids: the one rendering that serving, scoring and training share.

If generation and training tokenised a prompt differently, the adapter would be trained on
a text that it never meets. The tokenizer is any object with the methods of a Hugging Face
tokenizer; none of its library is imported here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_ROLES = {"user": "User: ", "assistant": "Assistant: ", "system": ""}
_PROBE = "valign-end-of-turn-probe"


def render_prompt(tokenizer: Any, messages: Sequence[Mapping[str, str]], prefill: str = "") -> list[int]:
    """Token ids of a conversation up to the point where the assistant's answer begins.

    With a chat template: the template's own text with its generation prompt. Without one:
    plain text, a line ``User: …`` or ``Assistant: …`` a turn, a system turn as a paragraph, then
    ``Assistant:``, after the tokenizer's beginning-of-sequence token if it has one.

    Args:
        messages: ``{"role": "system" | "user" | "assistant", "content": …}``, oldest first.
        prefill: text with which the answer begins; its tokens end the prompt.
    """
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return _encode(tokenizer, text + prefill)
    lines = [f"{_ROLES[message['role']]}{message['content']}\n" for message in messages]
    text = "".join(lines) + "Assistant:" + (f" {prefill}" if prefill else "")
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return bos + _encode(tokenizer, text)


def render_continuation(tokenizer: Any, text: str, *, after_prefill: bool = False) -> list[int]:
    """Token ids of an answer that follows ``render_prompt``.

    Args:
        text: the answer, or what follows the begun turn.
        after_prefill: True if the prompt had a begun turn, so that no space is put before it.
    """
    space = "" if tokenizer.chat_template or after_prefill else " "
    return _encode(tokenizer, space + text)


def end_of_turn_ids(tokenizer: Any) -> list[int]:
    """Token ids that end an assistant's turn; training teaches the model to stop with them.

    They are what the chat template puts behind an answer, up to the first special token;
    without a template, the end-of-sequence token.
    """
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}]
        text: str = tokenizer.apply_chat_template(turns, tokenize=False)
        ids = _encode(tokenizer, text.rpartition(_PROBE)[2])
        special = set(tokenizer.all_special_ids)
        for position, token in enumerate(ids):
            if token in special:
                return ids[: position + 1]
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))
