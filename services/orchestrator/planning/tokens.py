"""From a step's work to tokens: what is expected, and the most that the study allows."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from services.orchestrator.planning.rows import Work

CHARS_PER_TOKEN = 4.0
"""Characters of English prose a token of a vocabulary of 32,000 to 150,000; other scripts have fewer."""

TOKENS_A_TURN = 8.0
"""What a chat template puts around one turn: markers, the role, line breaks."""


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """How texts become tokens.

    Attributes:
        chars_per_token: characters a token of the prompts.
        tokens_a_turn: tokens that a turn has beside its text.
        completion_tokens: mean length of a completion; None: as long as the study allows.
        draws_per_slot: mean number of draws that a slot took; 1: every first draw is usable.
    """

    chars_per_token: float = CHARS_PER_TOKEN
    tokens_a_turn: float = TOKENS_A_TURN
    completion_tokens: float | None = None
    draws_per_slot: float = 1.0


@dataclass(frozen=True, slots=True)
class Quantities:
    """What is asked of other services. ``scored_tokens`` are prompts and continuations together."""

    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    scores: int = 0
    scored_tokens: int = 0
    embeddings: int = 0
    training_steps: int = 0
    trained_examples: int = 0
    trained_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens of what is generated: what a budget of tokens counts."""
        return self.prompt_tokens + self.completion_tokens


def expected(work: Work, figures: TokenFigures) -> Quantities:
    """The work as it is likely to be: as many draws and tokens as past runs took, if there are any."""
    each = work.most_tokens if figures.completion_tokens is None else figures.completion_tokens
    return _quantities(work, figures, figures.draws_per_slot, min(each, work.most_tokens))


def at_most(work: Work, figures: TokenFigures) -> Quantities:
    """The most that the study allows: every draw used up, every completion as long as it may be."""
    return _quantities(work, figures, work.most_draws, work.most_tokens)


def together(parts: Iterable[Quantities]) -> Quantities:
    """The sum."""
    found = list(parts)
    return Quantities(
        **{field.name: sum(getattr(part, field.name) for part in found) for field in fields(Quantities)}
    )


def _quantities(work: Work, figures: TokenFigures, draws: float, each: float) -> Quantities:
    def tokens(chars: int, turns: int) -> float:
        return chars / figures.chars_per_token + turns * figures.tokens_a_turn

    draws = min(draws, work.most_draws)
    completions = round(work.completions * draws)
    return Quantities(
        completions=completions,
        prompt_tokens=round(tokens(work.prompt_chars, work.prompt_turns) * draws),
        completion_tokens=round(completions * each),
        scores=work.scores,
        scored_tokens=round(tokens(work.scored_chars, work.scored_turns)),
        embeddings=work.embeddings,
        training_steps=work.training_steps,
        trained_examples=work.trained_examples,
        trained_tokens=round(tokens(work.trained_chars, work.trained_turns)),
    )
