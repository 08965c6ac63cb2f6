"""One step's work, and sums of it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt's size: characters of its turns, and how many turns there are."""

    chars: int
    turns: int


@dataclass(frozen=True, slots=True)
class Work:
    """What one step asks of the other services.

    Attributes:
        stage: the stage of the run that it belongs to.
        step: its name, as ``valign runs`` and the log have it.
        completions: slots; each is drawn once at the least.
        most_draws: times that a slot is drawn at the most.
        prompt_chars, prompt_turns: of all these slots' prompts, each once.
        longest_chars, longest_turns: of the longest of these prompts.
        most_tokens: longest completion, in tokens.
        scores: continuations whose log-probability is asked for.
        scored_chars, scored_turns: of their prompts and continuations together.
        embeddings: texts to embed.
        training_steps: optimiser steps.
        trained_examples: examples seen, over all epochs.
        trained_chars, trained_turns: of these examples, over all epochs.
    """

    stage: str
    step: str
    completions: int = 0
    most_draws: int = 1
    prompt_chars: int = 0
    prompt_turns: int = 0
    longest_chars: int = 0
    longest_turns: int = 0
    most_tokens: int = 0
    scores: int = 0
    scored_chars: int = 0
    scored_turns: int = 0
    embeddings: int = 0
    training_steps: int = 0
    trained_examples: int = 0
    trained_chars: int = 0
    trained_turns: int = 0


_LARGEST = ("most_draws", "most_tokens", "longest_chars", "longest_turns")
_SUMMED = tuple(field.name for field in fields(Work) if field.name not in ("stage", "step", *_LARGEST))


def summed(works: Iterable[Work], stage: str, step: str = "") -> Work:
    """The works' sum; of limits the largest."""
    total = Work(stage, step)
    for work in works:
        sums = {name: getattr(total, name) + getattr(work, name) for name in _SUMMED}
        largest = {name: max(getattr(total, name), getattr(work, name)) for name in _LARGEST}
        total = replace(total, **sums, **largest)
    return total
