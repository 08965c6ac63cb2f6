"""Scores and completions for the probes, in parts that are stored as they come.

A run that was interrupted asks only for the parts that it does not have. A generator that lost an adapter
gets it again.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.swap import load
from services.orchestrator.ports import AdapterRef, Completion, GenerationItem, Score, ScoreItem
from services.orchestrator.study import digest

PART_ITEMS = 128
_MOST_RELOADS = 5

Item = TypeVar("Item", GenerationItem, ScoreItem)
Ask = Callable[[Sequence[Item], str], AsyncGenerator[Any, None]]
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What came back for one item: a score (nats), a text, or ``error``. ``tokens``: of the continuation."""

    logprob: float = 0.0
    text: str = ""
    tokens: int = 0
    error: str = ""


async def ask_scores(
    ctx: RunContext, key: str, items: Sequence[ScoreItem], adapter: AdapterRef | None, tell: Tell
) -> dict[str, Told]:
    """Log-probabilities of the items' continuations, by item key; ``key`` names them within the run."""
    return await _ask(ctx, f"scores/{key}", items, adapter, ctx.services.generator.score, tell)


async def ask_texts(
    ctx: RunContext, key: str, items: Sequence[GenerationItem], adapter: AdapterRef | None, tell: Tell
) -> dict[str, Told]:
    """Completions of the items, by item key."""
    return await _ask(ctx, f"texts/{key}", items, adapter, ctx.services.generator.generate, tell)


async def _ask(
    ctx: RunContext,
    key: str,
    items: Sequence[Item],
    adapter: AdapterRef | None,
    ask: Ask[Item],
    tell: Tell,
) -> dict[str, Told]:
    found: dict[str, Told] = {}
    ready = False
    for place in range(0, len(items), PART_ITEMS):
        part = items[place : place + PART_ITEMS]
        name = f"probes/{key}/{place // PART_ITEMS}"
        # What was asked is stored with what came back, so that an answer to anything else is never taken.
        asked = digest([adapter.sha256 if adapter else "", [asdict(item) for item in part]])
        stored = await ctx.get_value(name)
        if stored is None or stored["asked"] != asked:
            if not ready:
                await _ready(ctx, adapter)
                ready = True
            answers = await _stream(ctx, part, adapter, ask, tell)
            stored = {"asked": asked, "told": {item: asdict(told) for item, told in answers.items()}}
            await ctx.put_value(name, stored)
            await ctx.keep_tally()
        else:
            tell(len(part))
        found |= {item: Told(**told) for item, told in stored["told"].items()}
    return found


async def _ready(ctx: RunContext, adapter: AdapterRef | None) -> None:
    with ctx.clock.external("generation"):
        await ctx.require_unchanged("generator", (await ctx.services.generator.describe()).fingerprint)
    if adapter is not None:
        await load(ctx, adapter)


async def _stream(
    ctx: RunContext, items: Sequence[Item], adapter: AdapterRef | None, ask: Ask[Item], tell: Tell
) -> Mapping[str, Told]:
    spent_on = "scoring_s" if isinstance(items[0], ScoreItem) else "generation_s"
    missing = {item.key: item for item in items}
    found: dict[str, Told] = {}
    reloads = 0
    while missing:
        before = len(missing)
        lost: NotFoundError | None = None
        try:
            with ctx.clock.external("generation"), ctx.tally.timed(spent_on):
                async with aclosing(ask(list(missing.values()), adapter.name if adapter else "")) as answers:
                    async for answer in answers:
                        if answer.error_code == "NOT_FOUND" and adapter is not None:
                            lost = NotFoundError(answer.error_message)
                            continue
                        del missing[answer.key]
                        found[answer.key] = _told(answer, adapter)
                        _count(ctx, answer)
                        tell(1)
        except NotFoundError as error:
            lost = error
        if lost is not None:
            reloads = reloads + 1 if len(missing) == before else 1
            if adapter is None or reloads > _MOST_RELOADS:
                raise lost
            await load(ctx, adapter)
    return found


def _count(ctx: RunContext, answer: Completion | Score) -> None:
    if isinstance(answer, Score):
        ctx.tally.add(scores=1, scored_tokens=answer.tokens)
    else:
        ctx.tally.add(
            completions=1,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )


def _told(answer: Completion | Score, adapter: AdapterRef | None) -> Told:
    if answer.error_code:
        return Told(error=f"{answer.error_code}: {answer.error_message}")
    if isinstance(answer, Score):
        return Told(logprob=answer.logprob, tokens=answer.tokens)
    expected = adapter.sha256 if adapter else ""
    if answer.adapter_sha256 != expected:
        raise PreconditionError(
            f"a completion came from adapter {answer.adapter or '(base)'} with sha256"
            f" {answer.adapter_sha256 or '(none)'}; expected {expected or '(none)'}"
        )
    return Told(text=answer.text, tokens=answer.completion_tokens)
