"""Task files: multiple-choice items that a user wants a tuned model not to lose (docs/guides/tasks.md).

One JSON object a line, in either of two shapes: what lm-evaluation-harness writes with ``--log_samples``
(``doc_id``, ``arguments``, ``target``), or ``{"question", "choices", "answer"}``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.orchestrator.documents import MAX_REPORTED, fault, invalid_document

MAX_TASK_BYTES = 64 * 1024 * 1024
MAX_ITEMS = 20_000
MAX_CHOICES = 64
MAX_TEXT_CHARS = 100_000
# Marks of chat templates: a prompt that was rendered for one model means nothing to another.
_TEMPLATE_MARKS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "<|user|>")
_INDEX = re.compile(r"[0-9]{1,9}")
_INDICES = re.compile(r"\[\s*[0-9]{1,9}(\s*,\s*[0-9]{1,9})*\s*\]")


@dataclass(frozen=True, slots=True)
class TaskItem:
    """One question. ``answers`` are the indices of the choices that count as right."""

    id: str
    context: str
    choices: tuple[str, ...]
    answers: tuple[int, ...]


class _RefusedRowError(ValueError):
    """What is wrong with one line."""


def parse_task(data: bytes) -> tuple[TaskItem, ...]:
    """The items of a task file, in its order. InvalidInputError with the line of every fault (50 at most).

    A harness writes a row for each filter of a task: rows that repeat an item's prompts are read once.
    """
    if len(data) > MAX_TASK_BYTES:
        message = f"the task file has {len(data)} bytes; at most {MAX_TASK_BYTES} are read"
        raise invalid_document([fault(None, None, (), message)])
    items: dict[str, TaskItem] = {}
    lines: dict[str, int] = {}
    faults: list[dict[str, Any]] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            item = _item(_row(raw), number)
            known = items.get(item.id)
            if known is not None and known != item:
                raise _RefusedRowError(
                    f"the item '{item.id[:80]}' is given twice with other content (first on line"
                    f" {lines[item.id]}); a file holds one task"
                )
        except _RefusedRowError as error:
            faults.append(fault(number, 1, (), str(error)))
            if len(faults) == MAX_REPORTED:
                break
            continue
        if known is None:
            items[item.id], lines[item.id] = item, number
            if len(items) > MAX_ITEMS:
                faults.append(fault(number, 1, (), f"more than {MAX_ITEMS} items; cut the file"))
                break
    if not items and not faults:
        faults.append(fault(None, None, (), "the task file has no items; it is JSON lines, an item a line"))
    if faults:
        raise invalid_document(faults)
    return tuple(items.values())


def _row(raw: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _RefusedRowError(f"not UTF-8: byte 0x{raw[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        raise _RefusedRowError(f"not a JSON object: {error.msg}, at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:
        raise _RefusedRowError(f"not a JSON object that can be read: {error}") from None
    if not isinstance(row, dict):
        raise _RefusedRowError("not a JSON object: each line is one, in braces")
    return row


def _item(row: Mapping[str, Any], number: int) -> TaskItem:
    if "arguments" in row:
        context, choices = _harness_choices(row["arguments"])
        answers = _answers(row.get("target"), choices, "target")
        name = row.get("doc_id", number)
    elif "question" in row:
        context, choices = row["question"], _plain_choices(row.get("choices"))
        answers = _answers(row.get("answer"), choices, "answer", letters=True)
        name = row.get("id", number)
    else:
        raise _RefusedRowError(
            "no known shape: it needs 'arguments', 'target' and 'doc_id' (lm-evaluation-harness with"
            " --log_samples), or 'question', 'choices' and 'answer'"
        )
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise _RefusedRowError(f"its id must be a number or a text, not {_shown(name)}")
    if len(choices) < 2:
        raise _RefusedRowError("it has one choice; only multiple-choice items of 2 and more can be scored")
    if len(choices) > MAX_CHOICES:
        raise _RefusedRowError(f"it has {len(choices)} choices; at most {MAX_CHOICES} are scored")
    return TaskItem(
        id=_text(str(name), "the id"),
        context=_text(context, "the question"),
        choices=tuple(_text(choice, f"choice {place}") for place, choice in enumerate(choices)),
        answers=answers,
    )


def _harness_choices(arguments: Any) -> tuple[Any, list[Any]]:
    """(context, continuations) of a row's requests, written as lists or as ``gen_args_N`` objects."""
    if isinstance(arguments, dict):
        names = sorted(arguments, key=lambda name: (len(name), name))
        pairs = [
            [part.get("arg_0"), part.get("arg_1")] if isinstance(part, dict) else part
            for part in (arguments[name] for name in names)
        ]
    else:
        pairs = arguments if isinstance(arguments, list) else [arguments]
    if not pairs or not all(isinstance(pair, list) and len(pair) >= 2 for pair in pairs):
        raise _RefusedRowError("its arguments are not pairs of a context and a continuation")
    if any(isinstance(pair[1], dict) for pair in pairs):
        raise _RefusedRowError("it is an item of a generating task; only multiple-choice tasks can be scored")
    contexts, choices = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    half = len(pairs) // 2
    # Tasks with acc_mutual_info log every choice once more, without its context.
    if len(pairs) == 2 * half and set(map(str, contexts[half:])) == {""} and choices[:half] == choices[half:]:
        contexts, choices = contexts[:half], choices[:half]
    if any(context != contexts[0] for context in contexts):
        raise _RefusedRowError(
            "its contexts differ from choice to choice (as winogrande's do): the log does not say which"
            " of them is right"
        )
    context = contexts[0]
    if isinstance(context, str) and any(mark in context for mark in _TEMPLATE_MARKS):
        raise _RefusedRowError(
            "its context was rendered with a model's chat template; write the log without"
            " --apply_chat_template"
        )
    return context, choices


def _plain_choices(choices: Any) -> list[Any]:
    # ARC's files keep the texts beside their labels.
    if isinstance(choices, dict):
        choices = choices.get("text")
    if not isinstance(choices, list):
        raise _RefusedRowError(f"choices must be a list of texts, not {_shown(choices)}")
    return choices


def _answers(target: Any, choices: Sequence[Any], key: str, *, letters: bool = False) -> tuple[int, ...]:
    """Indices of the right choices: an index, a list of them, or a choice's own text.

    In a log a target of digits is an index: that is how the harness reads its tasks' targets.
    """
    if isinstance(target, str):
        stripped = target.strip()
        texts = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
        if _INDICES.fullmatch(stripped):
            target = [int(number) for number in stripped[1:-1].split(",")]
        elif _INDEX.fullmatch(stripped) and int(stripped) < len(choices):
            target = int(stripped)
        elif stripped in texts:
            return (texts.index(stripped),)
        elif letters and len(stripped) == 1 and "A" <= stripped <= "Z":
            target = ord(stripped) - ord("A")
    found = target if isinstance(target, list) else [target]
    if not found or not all(isinstance(one, int) and not isinstance(one, bool) for one in found):
        raise _RefusedRowError(f"{key} {_shown(target)} names no choice: give its index, from 0, or its text")
    for one in found:
        if not 0 <= one < len(choices):
            raise _RefusedRowError(f"{key} {one} is no index of {len(choices)} choices (from 0)")
    return tuple(sorted(set(found)))


def _text(value: Any, what: str) -> str:
    # The space between question and answer is the chat template's business.
    if not isinstance(value, str) or not value.strip():
        raise _RefusedRowError(f"{what} must be a text that is not empty, not {_shown(value)}")
    if len(value) > MAX_TEXT_CHARS:
        raise _RefusedRowError(f"{what} has {len(value)} characters; at most {MAX_TEXT_CHARS} are read")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise _RefusedRowError(f"{what} holds an escape that stands for half a character")
    return value.strip()


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
