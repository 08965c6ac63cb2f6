"""From examples to token ids, and the order in which a job sees them. No torch here.

The tokens come from ``services.common.prompting``, which generation and scoring use too:
what is trained is what is served, token for token.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.errors import InvalidInputError
from services.common.prompting import end_of_turn_ids, render_continuation, render_prompt
from services.trainer.types import Example
from services.trainer.validation import example_problems


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of prompt, answer and end of turn.

    The answer is ``token_ids[answer_start:answer_end]``; loss is on all from ``answer_start`` on.
    """

    token_ids: tuple[int, ...]
    answer_start: int
    answer_end: int
    weight: float


def parse_examples(data: bytes, group_weights: Mapping[str, float]) -> tuple[Example, ...]:
    """Examples from JSON lines; raises InvalidInputError that names the line, from 1."""
    examples: list[Example] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            examples.append(Example.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(
                f"examples_uri, line {number}: want messages [{{role, content}}], answer and group: {error!r}"
            ) from error
    problems = example_problems(tuple(examples), dict(group_weights))
    if not examples:
        problems = ["the file has no example"]
    if problems:
        raise InvalidInputError("examples_uri: " + "; ".join(problems[:20]))
    return tuple(examples)


def encode_examples(
    tokenizer: Any, examples: Sequence[Example], group_weights: Mapping[str, float], *, max_length: int
) -> list[EncodedExample]:
    """Tokenise every example, in order.

    Raises:
        InvalidInputError: an example has more than ``max_length`` tokens, or none to answer with.
    """
    end = end_of_turn_ids(tokenizer)
    encoded: list[EncodedExample] = []
    for index, example in enumerate(examples):
        prompt = render_prompt(tokenizer, as_messages(example))
        answer = render_continuation(tokenizer, example.answer)
        token_ids = (*prompt, *answer, *end)
        if len(token_ids) > max_length:
            raise InvalidInputError(
                f"example {index} (group {example.group!r}) has {len(token_ids)} tokens, more than "
                f"max_length {max_length}; shorten it or raise max_length"
            )
        if not prompt or not answer:
            raise InvalidInputError(f"example {index} (group {example.group!r}) has no tokens to learn")
        weight = group_weights[example.group]
        encoded.append(EncodedExample(token_ids, len(prompt), len(prompt) + len(answer), weight))
    return encoded


def as_messages(example: Example) -> list[dict[str, str]]:
    """The turns as chat templates want them."""
    return [{"role": m.role, "content": m.content} for m in example.messages]


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Batches of one pass; the last one may be smaller."""
    return math.ceil(examples / batch_size)


def batch_indices(step: int, examples: int, batch_size: int, seed: int) -> list[int]:
    """Which examples step ``step`` (from 0) of a job takes.

    Each epoch goes through all examples once, in an order that depends on (seed, epoch)
    alone, so that a resumed job sees what an undisturbed one would.
    """
    epoch, position = divmod(step, steps_per_epoch(examples, batch_size))
    order = list(range(examples))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - repeatable, not secret
    return order[position * batch_size : (position + 1) * batch_size]
