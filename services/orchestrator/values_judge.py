"""A language model as a judge of values: one question a value, three answers, scored by log-probability.

The questions are data (``data/values``). The judge is the base model, through ``Generator.score``.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.common.artifacts import sha256_bytes
from services.common.errors import InternalError, PreconditionError
from services.orchestrator.analysis.values.dimensions import ANSWERS, VALUES, Answer, answer_probabilities
from services.orchestrator.documents import parse_document
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import Generator, Score, ScoreItem
from services.orchestrator.schemas import Words

Answers: TypeAlias = dict[str, list[float] | None]
"""By value: three numbers in the order of ``ANSWERS`` (log-probabilities or probabilities); None: none."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ValueDocument(_Document):
    """One basic value in words."""

    id: Words
    title: Words
    definition: Words
    source: Words


class ValuesDocument(_Document):
    """The ten values and the questions about them."""

    id: Words
    title: Words
    version: Words
    source: Words
    template: Words
    answers: dict[Answer, Words]
    dialogue_question: Words
    content_free: Annotated[tuple[Words, ...], Field(min_length=1)]
    values: tuple[ValueDocument, ...]

    @model_validator(mode="after")
    def _whole(self) -> "ValuesDocument":
        if sorted(value.id for value in self.values) != sorted(VALUES):
            raise ValueError(f"values must be the ten: {', '.join(VALUES)}")
        if set(self.answers) != set(ANSWERS) or len(set(self.answers.values())) != len(ANSWERS):
            raise ValueError(f"answers must be three different texts for {', '.join(ANSWERS)}")
        return self


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply to judge, in its dialogue; ``key`` comes back with the answers."""

    key: str
    question: str
    reply: str


@lru_cache
def load_values() -> ValuesDocument:
    """The packaged values."""
    return parse_document(_packaged(), ValuesDocument)


def questions_sha256() -> str:
    """Sha256 (hex) of the packaged values: another wording is another judge."""
    return sha256_bytes(_packaged().encode())


def dialogue_question(topic_title: str) -> str:
    """What a stated principle is taken to be the reply to."""
    return load_values().dialogue_question.replace("{topic}", topic_title)


def question_prompt(value: ValueDocument, question: str, reply: str) -> Prompt:
    """The judge's question about one value of one reply."""
    text = load_values().template
    parts = {"title": value.title, "definition": value.definition, "question": question, "reply": reply}
    # In this order: what a reply holds is never taken for a placeholder.
    for name in ("title", "definition"):
        text = text.replace(f"{{{name}}}", parts[name])
    before, _, rest = text.partition("{question}")
    between, _, after = rest.partition("{reply}")
    return Prompt(messages=(Message("user", f"{before}{question}{between}{reply}{after}"),))


async def judge_replies(
    generator: Generator,
    replies: Sequence[Reply],
    values: Iterable[str] = VALUES,
    tell: Callable[[str], None] = lambda key: None,
) -> dict[str, Answers]:
    """Log-probabilities of the three answers, by reply and value; None where one could not be scored.

    ``tell(key)`` as soon as all of a reply's answers are there. Keys must be unique. Raises what the
    generator raises; PreconditionError if it cannot score at all.
    """
    document = load_values()
    wanted = [value for value in document.values if value.id in set(values)]
    items = [
        ScoreItem(
            key=f"{place}/{value.id}/{answer}",
            prompt=question_prompt(value, reply.question, reply.reply),
            continuation=document.answers[answer],
        )
        for place, reply in enumerate(replies)
        for value in wanted
        for answer in ANSWERS
    ]
    found: dict[tuple[int, str], dict[str, float | None]] = {}
    open_answers = {place: len(wanted) * len(ANSWERS) for place in range(len(replies))}
    async for score in _scores(generator, items):
        place, value_id, answer = score.key.split("/")
        usable = not score.error_code and np.isfinite(score.logprob)
        found.setdefault((int(place), value_id), {})[answer] = score.logprob if usable else None
        open_answers[int(place)] -= 1
        if not open_answers[int(place)]:
            tell(replies[int(place)].key)
    if any(open_answers.values()):
        raise InternalError(f"the generator left {sum(open_answers.values())} of {len(items)} scores out")
    return {
        reply.key: {value.id: _numbers(found[place, value.id]) for value in wanted}
        for place, reply in enumerate(replies)
    }


async def judge_prior(generator: Generator, values: Iterable[str] = VALUES) -> dict[str, list[float]]:
    """Probabilities of the three answers to content-free questions, mean over them, by value.

    Zhao et al. 2021: what a model answers to a question about nothing is its bias towards the words.
    """
    texts = load_values().content_free
    replies = [Reply(str(place), text, text) for place, text in enumerate(texts)]
    answers = await judge_replies(generator, replies, values)
    prior: dict[str, list[float]] = {}
    for value in next(iter(answers.values())):
        rows = [answers[reply.key][value] for reply in replies]
        known = [answer_probabilities(row) for row in rows if row is not None]
        if len(known) < len(rows):
            raise PreconditionError(
                f"the generator could not score the content-free questions about {value}; "
                "is its longest prompt shorter than the judge's question?"
            )
        prior[value] = [float(number) for number in np.mean(known, axis=0)]
    return prior


async def _scores(generator: Generator, items: Sequence[ScoreItem]) -> AsyncIterator[Score]:
    async with aclosing(generator.score(items)) as scores:
        async for score in scores:
            yield score


def _numbers(answers: Mapping[str, float | None]) -> list[float] | None:
    numbers: list[Any] = [answers[answer] for answer in ANSWERS]
    return None if None in numbers else numbers


def _packaged() -> str:
    folder = files("services.orchestrator").joinpath("data", "values")
    return folder.joinpath("schwartz-ten.yaml").read_text(encoding="utf-8")
