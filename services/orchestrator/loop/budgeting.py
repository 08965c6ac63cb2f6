"""A run within its budget: before what costs most, a step decides whether it may still be begun.

Each decision is a recorded step, so that a resumed run decides as before, and a retry with a larger budget
goes back to the decision that ended the run. A run without a budget has no such steps.

What comes next is held against the budget together with what is still to come of the end of the run (judging
the best checkpoint, its references and the probes): so that a run that is stopped can still end with a
verdict. Steps are exact. Tokens are the plan's own counts, step by step, by what this run's draws and prompts
have taken against them so far; seconds are these at this run's speeds, or for a kind of work that it has not
done yet at those of past runs of the model.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from services.common.errors import PreconditionError
from services.orchestrator.budget import STOPPED, Reached, Spending, reached, spending_of
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.planned import PLANNED, Known, gpus_of, known_of, works_of
from services.orchestrator.loop.steps import Steps
from services.orchestrator.planning.rows import Work
from services.orchestrator.planning.speed import first_known, measured_speeds, seconds_of
from services.orchestrator.planning.tokens import TokenFigures, expected, together

ENDING = frozenset({"judge_base", "judge_best", "draw_references", "draw_base_reference"})
"""Steps that a run with a checkpoint ends with; the probes belong to them too."""


class Purse:
    """The budget of one run. The plan's counts are read by a step that decides, and by no other."""

    def __init__(self, ctx: RunContext, steps: Steps) -> None:
        self._ctx = ctx
        self._steps = steps

    @property
    def limited(self) -> bool:
        """Whether the study has any limit."""
        return any(limit is not None for limit in self._ctx.study.budget.model_dump().values())

    async def require(self, name: str, stage: str, needed: Iterable[str], left_out: str) -> None:
        """PreconditionError if the steps ``needed`` cannot be begun: where there is nothing to end with."""
        found = await self.allows(name, stage, needed, left_out, ending=False)
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
        left_out: str,
        *,
        ending: bool = True,
        only_measured: bool = False,
    ) -> Reached | None:
        """None if the steps ``needed``, with the end of the run behind them, may be begun.

        ``left_out`` says for people what the run then goes without.
        ``only_measured``: the steps are those of a run without any training.
        """
        if not self.limited:
            return None
        wanted = frozenset(needed)

        async def decide() -> dict[str, Any] | None:
            found = await self._decide(wanted, ending, only_measured)
            if found is None:
                return None
            self._ctx.journal.emit("budget.reached", before=name, left_out=left_out, **asdict(found))
            return asdict(found)

        told = await self._steps.run(f"budget_{name}", stage, decide)
        if told is None:
            return None
        # After the step: a retry from a later one forgets what has stopped the run, and replays this one.
        if await self._ctx.get_value(STOPPED) is None:
            # The first decision that stops is the one that a retry goes back to.
            await self._ctx.put_value(STOPPED, {"step": f"budget_{name}", "left_out": left_out, **told})
        return Reached(**told)

    async def _decide(self, wanted: frozenset[str], ending: bool, only_measured: bool) -> Reached | None:
        ctx, finished = self._ctx, self._steps.finished
        used = ctx.tally.total()
        known = known_of(await ctx.get_value(PLANNED))
        each = _mean(used, "completion_tokens") or known.figures.completion_tokens
        works = await asyncio.to_thread(works_of, ctx, each, only_measured=only_measured)
        done = [work for work in works if work.step in finished]
        chosen = [
            work
            for work in works
            if work.step not in finished
            and (work.step in wanted or (ending and (work.step in ENDING or work.stage == "probes")))
        ]
        return reached(ctx.study.budget, spending_of(used), forecast(chosen, done, used, known))


def forecast(
    works: Iterable[Work], done: Iterable[Work], used: Mapping[str, float], known: Known
) -> Spending:
    """What these works are likely to take, where ``done`` took ``used``; of seconds of a kind of work that
    neither this run nor a past one has done, nothing."""
    figures, longer = _figures(done, used, known)
    likely = together(expected(work, figures) for work in works)
    seconds = seconds_of(likely, first_known(measured_speeds(used), known.speeds)).known
    gpus = gpus_of(used)
    return Spending(
        tokens=likely.prompt_tokens * longer + likely.completion_tokens,
        training_steps=likely.training_steps,
        gpu_s=seconds * ((known.gpus if gpus is None else gpus) or 0.0),
        wall_s=seconds,
    )


def _figures(done: Iterable[Work], used: Mapping[str, float], known: Known) -> tuple[TokenFigures, float]:
    """How texts become tokens in this run, and how much longer its prompts are than the plan has them."""
    planned = together(expected(work, TokenFigures()) for work in done)
    if not planned.completions or not used["completions"]:
        return known.figures, 1.0
    figures = TokenFigures(
        completion_tokens=_mean(used, "completion_tokens"),
        # Slots that gave no text take later ones with them: fewer draws than slots are no rate.
        draws_per_slot=max(1.0, used["completions"] / planned.completions),
    )
    prompt = planned.prompt_tokens / planned.completions
    return figures, (_mean(used, "prompt_tokens") or 0.0) / prompt if prompt else 1.0


def _mean(used: Mapping[str, float], name: str) -> float | None:
    """Of one completion so far; None before any."""
    return used[name] / used["completions"] if used["completions"] else None
