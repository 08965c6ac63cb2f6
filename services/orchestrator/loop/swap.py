"""Which of a run's adapters are in the generator. Loading is declarative: it can be repeated."""

import asyncio

import structlog

from services.common.errors import OverloadedError, ValignError
from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import AdapterRef, SwapProof

log = structlog.get_logger(__name__)

_TIDY_S = 60.0


def name_prefix(run_id: str, iteration: int) -> str:
    """The trainer adds a hyphen and eight digits of the adapter's sha256."""
    return f"{run_id}-i{iteration}"


async def load(ctx: RunContext, adapter: AdapterRef) -> SwapProof:
    """Load and prove. If there is no slot left, this run's other adapters make room."""
    with ctx.clock.external("loading"):
        try:
            proof = await ctx.services.generator.load_adapter(adapter)
        except OverloadedError:
            if not await unload_others(ctx, keep=adapter.name):
                raise
            proof = await ctx.services.generator.load_adapter(adapter)
    ctx.journal.emit(
        "adapter.loaded",
        name=adapter.name,
        sha256=adapter.sha256,
        canaries=proof.canaries,
        max_relative_error=proof.max_relative_error,
        tolerance=proof.tolerance,
        mean_shift_nats=proof.mean_shift_nats,
        duration_s=proof.duration_s,
        already_loaded=proof.already_loaded,
    )
    return proof


async def unload_others(ctx: RunContext, keep: str = "") -> int:
    """Unload this run's adapters but ``keep``; returns how many there were."""
    generator = ctx.services.generator
    mine = [name for name, _ in await generator.list_adapters() if name.startswith(f"{ctx.run_id}-i")]
    gone = [name for name in mine if name != keep]
    for name in gone:
        await generator.unload_adapter(name)
    return len(gone)


async def tidy(ctx: RunContext, keep: str = "") -> None:
    """``unload_others`` at a run's end, where a failure must not change how the run ended."""
    try:
        with ctx.clock.external("loading"):
            async with asyncio.timeout(_TIDY_S):
                await unload_others(ctx, keep)
    except (ValignError, TimeoutError) as error:
        log.warning("adapters.left_loaded", run_id=ctx.run_id, error=repr(error))
