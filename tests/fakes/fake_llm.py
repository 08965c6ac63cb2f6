"""vLLM's engine as its server calls it: outputs that are given, one after another."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


def output(
    *answers: tuple[int, int, str | None], prompt_tokens: int = 5, finished: bool = False
) -> SimpleNamespace:
    """One output: for each answer its index, how many tokens are new, and why it has ended, if it has."""
    return SimpleNamespace(
        prompt_token_ids=list(range(prompt_tokens)),
        outputs=[
            SimpleNamespace(index=index, token_ids=[7] * count, finish_reason=reason, text="a secret answer")
            for index, count, reason in answers
        ],
        finished=finished,
    )


def params(**of: Any) -> SimpleNamespace:
    """Sampling parameters, as far as our client looks at them."""
    return SimpleNamespace(**{"ignore_eos": False, "stop_token_ids": None, **of})


@dataclass
class FakeLLM:
    """Gives ``outputs`` to every request; then raises ``fails``, or waits while ``gate`` is cleared.

    ``closed`` counts the requests that it has let go of.
    """

    outputs: Sequence[Any] = ()
    fails: Exception | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0
    model_config: str = "the engine's own"

    def __post_init__(self) -> None:
        self.gate.set()

    async def generate(self, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[Any]:
        try:
            for one in self.outputs:
                yield one
            await self.gate.wait()
            if self.fails is not None:
                raise self.fails
        finally:
            self.closed += 1
