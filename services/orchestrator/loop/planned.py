"""What a run was expected to use, kept at its beginning so that its report can say how it came out.

What past runs of the model took is kept with it: a budget that asks later, maybe in another process, asks the
same.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from services.orchestrator.loop.context import RunContext
from services.orchestrator.planning.hardware import GENERATED_ON, hardware_of
from services.orchestrator.planning.pace import pace_here
from services.orchestrator.planning.past import Past, past_of
from services.orchestrator.planning.plan import figures_of, work_of
from services.orchestrator.planning.reading import read_given
from services.orchestrator.planning.rows import Work
from services.orchestrator.planning.speed import Speeds
from services.orchestrator.planning.tokens import TokenFigures, expected, together
from services.orchestrator.ports import RunStore

PLANNED = "planned"
"""Key of a run's value: ``slots`` and, by stage, the expected quantities; and what ``known_of`` reads."""

_BUSY = ("generation_s", "scoring_s", "embedding_s", "training_s")


@dataclass(frozen=True, slots=True)
class Known:
    """What past runs of the model took, or what is assumed without them.

    ``gpus``: GPU seconds in a second of work, over all services; None where nobody knows.
    """

    figures: TokenFigures = field(default_factory=TokenFigures)
    speeds: Speeds = field(default_factory=Speeds)
    gpus: float | None = None


async def keep_plan(ctx: RunContext, model_fingerprint: str) -> None:
    """Store the plan of this run, with what past runs of the model took."""
    await ctx.put_value(PLANNED, await asyncio.to_thread(_plan, ctx, ctx.store, model_fingerprint))


def known_of(planned: Mapping[str, Any] | None) -> Known:
    """From what ``keep_plan`` stored; a run that an earlier version began knows nothing."""
    known = (planned or {}).get("known")
    if known is None:
        return Known()
    return Known(TokenFigures(**known["figures"]), Speeds(**known["speeds"]), known["gpus"])


def gpus_of(used: Mapping[str, float]) -> float | None:
    """GPU seconds in a second of work, by a tally's sums; None before any work."""
    busy_s = sum(used.get(name, 0.0) for name in _BUSY)
    return used.get("gpu_s", 0.0) / busy_s if busy_s else None


def works_of(
    ctx: RunContext, completion_tokens: float | None, *, only_measured: bool = False
) -> tuple[Work, ...]:
    """Every step's work, counted from the study alone, or from the same study without any training.

    ``completion_tokens``: mean length of a completion, for the texts that stand in later prompts; None: as
    long as the study allows.
    """
    given = read_given(ctx.artifacts, ctx.study, second_encoder=ctx.services.second_embedder is not None)
    resolved = ctx.resolved
    if only_measured:
        study = resolved.study.model_copy(update={"measure_only": True})
        resolved = replace(resolved, study=study, other_reference_set=None)
    return work_of(resolved, given, figures_of(resolved, Past(), completion_tokens))


def _plan(ctx: RunContext, store: RunStore, model_fingerprint: str) -> dict[str, Any]:
    past = past_of(store, model_fingerprint)
    figures = figures_of(ctx.resolved, past)
    speeds, used = pace_here(past, hardware_of(store.get_value(ctx.run_id, GENERATED_ON)))
    given = read_given(ctx.artifacts, ctx.study, second_encoder=ctx.services.second_embedder is not None)
    works = work_of(ctx.resolved, given, figures)
    stages = dict.fromkeys(work.stage for work in works)
    known = Known(figures, speeds, gpus_of(used))
    return {
        "slots": {stage: sum(work.completions for work in works if work.stage == stage) for stage in stages},
        "stages": {
            stage: asdict(together(expected(work, figures) for work in works if work.stage == stage))
            for stage in stages
        },
        "past_runs": past.runs,
        "known": asdict(known),
    }
