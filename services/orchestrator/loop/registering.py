"""What the loop tells the registry: which adapters it trained, that they are proven, and what became of them.

Every call may be repeated, like the steps that make it. A run that only measures tells nothing.
"""

from collections.abc import Mapping
from typing import Any

from services.orchestrator.analysis.results import Analysis
from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import AdapterRef, SwapProof
from services.orchestrator.registry.records import AdapterState, NewAdapter

_LONGEST_REASON = 2000
_UNDECIDED = frozenset({AdapterState.PROVEN, AdapterState.RETIRED})
_PASSED_OVER = frozenset({AdapterState.TRAINED, AdapterState.PROVEN})


async def trained(
    ctx: RunContext, plan: Mapping[str, Any], adapter: Mapping[str, str], iteration: int, arm: str = ""
) -> None:
    """A training has ended with this adapter; ``arm`` is empty for the study's own."""
    run = await ctx.stored(ctx.store.get_run, ctx.run_id)
    new = NewAdapter(
        name=adapter["name"],
        sha256=adapter["sha256"],
        uri=adapter["uri"],
        run_id=ctx.run_id,
        arm=arm,
        iteration=iteration,
        base_model=plan["model"],
        base_fingerprint=plan["model_fingerprint"],
        rank=ctx.study.lora.rank,
        approval_required=ctx.study.promotion.approval,
        created_by=run.created_by,
    )
    await ctx.stored(ctx.store.registry.register, new)


async def proven(ctx: RunContext, adapter: AdapterRef, proof: SwapProof) -> None:
    """The generator has loaded it, and its canaries agreed."""
    reason = f"{proof.canaries} canaries agree, largest relative error {proof.max_relative_error:.2g}"
    only_from = {AdapterState.TRAINED}
    await ctx.stored(ctx.store.registry.move, adapter.name, AdapterState.PROVEN, reason, only_from=only_from)


async def refused(ctx: RunContext, adapter: AdapterRef, why: str) -> None:
    """The generator would not have it. It stays as it is: another generator may take it."""
    await ctx.stored(ctx.store.registry.note, adapter.name, _short(f"the generator refused it: {why}"))


async def decided(ctx: RunContext, facts: Mapping[str, Any], analysis: Analysis | None) -> None:
    """The gate's word on the best adapter: promote makes it a candidate, reject ends it, hold leaves it."""
    best = facts.get("best_iteration")
    if not best:
        return
    name = facts["iterations"][best]["adapter"]["name"]
    registry = ctx.store.registry
    said = analysis.verdict if analysis is not None else None
    if said is None:
        await ctx.stored(registry.note, name, "the run ended without a verdict")
        return
    # A promotion is every rule's word, and the headline sums them up.
    deciding = [reason.text for reason in said.reasons if reason.outcome == said.decision != "promote"]
    why = _short(f"{said.decision}: {' '.join(deciding)}" if deciding else said.headline)
    match said.decision:
        case "promote":
            await ctx.stored(registry.move, name, AdapterState.CANDIDATE, why, only_from=_UNDECIDED)
        case "reject":
            only_from = {*_UNDECIDED, AdapterState.CANDIDATE}
            await ctx.stored(registry.move, name, AdapterState.REJECTED, why, only_from=only_from)
        case _:
            await ctx.stored(registry.note, name, why)


async def ended(ctx: RunContext, best: str) -> None:
    """The run has succeeded: what it trained beside its best adapter was passed over for that."""
    registry = ctx.store.registry
    for record in await ctx.stored(registry.of_run, ctx.run_id):
        if record.name != best:
            reason = f"passed over: run {ctx.run_id} chose {best}"
            await ctx.stored(registry.move, record.name, AdapterState.RETIRED, reason, only_from=_PASSED_OVER)


async def kept_loaded(ctx: RunContext) -> frozenset[str]:
    """Adapters that no run may unload: a route names them."""
    return await ctx.stored(ctx.store.registry.routed)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
