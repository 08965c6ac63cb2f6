"""A run within its budget: before what costs most, a step decides whether it may still be begun.

Each decision is a recorded step, so that a resumed run decides as before, and a retry with a larger budget
goes back to the decision that ended the run. A run without a budget has no such steps.

What comes next is held against the budget together with the end of the run (judging the best checkpoint, its
references and the probes): so that a run that is stopped can still end with a verdict. Tokens and seconds of
what comes next are the plan's counts at the rates that this run has had so far; steps are exact.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from services.common.errors import PreconditionError
from services.orchestrator.budget import STOPPED, Reached, Spending, reached, spending_of
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.planned import works_of
from services.orchestrator.loop.steps import Steps
from services.orchestrator.planning.rows import Work, summed

ENDING = frozenset({"judge_base", "judge_best", "draw_references", "draw_base_reference"})
"""Steps that a run with a checkpoint ends with; the probes belong to them too."""


class Purse:
    """The budget of one run. The plan's counts are read once, and only by a step that decides."""

    def __init__(self, ctx: RunContext, steps: Steps) -> None:
        self._ctx = ctx
        self._steps = steps
        self._works: dict[bool, tuple[Work, ...]] = {}

    @property
    def limited(self) -> bool:
        """Whether the study has any limit."""
        return any(limit is not None for limit in self._ctx.study.budget.model_dump().values())

    async def require(self, name: str, stage: str, needed: Iterable[str]) -> None:
        """PreconditionError if the steps ``needed`` cannot be begun: where there is nothing to end with."""
        found = await self.allows(name, stage, needed, ending=False)
        if found is not None:
            raise PreconditionError(
                f"{found.sentence()}, so that nothing is measured yet; retry the run with a larger"
                f" {found.limit}, or ask for fewer principles"
            )

    async def allows(
        self,
        name: str,
        stage: str,
        needed: Iterable[str],
        *,
        ending: bool = True,
        only_measured: bool = False,
    ) -> Reached | None:
        """None if the steps ``needed``, with the end of the run behind them, may be begun.

        ``only_measured``: the steps are those of a run without any training.
        """
        if not self.limited:
            return None
        wanted = frozenset(needed)

        async def decide() -> dict[str, Any] | None:
            found = await self._decide(wanted, ending, only_measured)
            if found is None:
                return None
            ctx = self._ctx
            if await ctx.get_value(STOPPED) is None:
                # The first decision that stops is the one that a retry goes back to.
                await ctx.put_value(STOPPED, {"step": f"budget_{name}", **asdict(found)})
            ctx.journal.emit("budget.reached", before=name, **asdict(found))
            return asdict(found)

        told = await self._steps.run(f"budget_{name}", stage, decide)
        return None if told is None else Reached(**told)

    async def _decide(self, wanted: frozenset[str], ending: bool, only_measured: bool) -> Reached | None:
        if only_measured not in self._works:
            works = await asyncio.to_thread(works_of, self._ctx, only_measured=only_measured)
            self._works[only_measured] = works
        chosen = [
            work
            for work in self._works[only_measured]
            if work.step in wanted or (ending and (work.step in ENDING or work.stage == "probes"))
        ]
        used = self._ctx.tally.total()
        return reached(self._ctx.study.budget, spending_of(used), forecast(chosen, used))


def forecast(works: Iterable[Work], used: dict[str, float]) -> Spending:
    """What these works are likely to take, at the rates of ``used``; of what it has no rate for, nothing."""
    total = summed(works, "")
    drawn = used["completions"]
    tokens = total.completions * (used["prompt_tokens"] + used["completion_tokens"]) / drawn if drawn else 0.0
    busy_s = (
        _seconds(total.completions, drawn, used["generation_s"])
        + _seconds(total.scores, used["scores"], used["scoring_s"])
        + _seconds(total.trained_examples, used["trained_examples"], used["training_s"])
    )
    busy_before_s = used["generation_s"] + used["scoring_s"] + used["training_s"] + used["embedding_s"]
    gpus = used["gpu_s"] / busy_before_s if busy_before_s else 0.0
    return Spending(tokens, total.training_steps, busy_s * gpus, busy_s)


def _seconds(count: int, known: float, spent_s: float) -> float:
    return count * spent_s / known if known else 0.0
