"""What a run was expected to use, kept at its beginning so that its report can say how it came out."""

import asyncio
from dataclasses import asdict, replace
from typing import Any

from services.orchestrator.loop.context import RunContext
from services.orchestrator.planning.past import Past, past_of
from services.orchestrator.planning.plan import figures_of, work_of
from services.orchestrator.planning.reading import read_given
from services.orchestrator.planning.rows import Work
from services.orchestrator.planning.tokens import expected, together
from services.orchestrator.ports import RunStore

PLANNED = "planned"
"""Key of a run's value: ``slots`` and, by stage, the expected quantities."""


async def keep_plan(ctx: RunContext, model_fingerprint: str) -> None:
    """Store the plan of this run, with what past runs of the model took."""
    await ctx.put_value(PLANNED, await asyncio.to_thread(_plan, ctx, ctx.store, model_fingerprint))


def works_of(ctx: RunContext, *, only_measured: bool = False) -> tuple[Work, ...]:
    """Every step's work, counted from the study alone, or from the same study without any training."""
    given = read_given(ctx.artifacts, ctx.study, second_encoder=ctx.services.second_embedder is not None)
    resolved = ctx.resolved
    if only_measured:
        study = resolved.study.model_copy(update={"measure_only": True})
        resolved = replace(resolved, study=study, other_reference_set=None)
    return work_of(resolved, given, figures_of(resolved, Past()))


def _plan(ctx: RunContext, store: RunStore, model_fingerprint: str) -> dict[str, Any]:
    past = past_of(store, model_fingerprint)
    figures = figures_of(ctx.resolved, past)
    given = read_given(ctx.artifacts, ctx.study, second_encoder=ctx.services.second_embedder is not None)
    works = work_of(ctx.resolved, given, figures)
    stages = dict.fromkeys(work.stage for work in works)
    return {
        "slots": {stage: sum(work.completions for work in works if work.stage == stage) for stage in stages},
        "stages": {
            stage: asdict(together(expected(work, figures) for work in works if work.stage == stage))
            for stage in stages
        },
        "past_runs": past.runs,
    }
