"""Which of a run's adapters are in the generator. Loading is declarative: it can be repeated."""

import asyncio
import re

import structlog

from services.common.errors import NotFoundError, OverloadedError, PreconditionError, ValignError
from services.orchestrator.loop import registering
from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import AdapterRef, SwapProof

log = structlog.get_logger(__name__)

# What trainer and generator call an adapter: see name_prefix.
_NAME = re.compile(
    r"(?P<run>.+?)(-(?P<arm>tuned-s\d+|uniform|shuffled|other))?-i(?P<iteration>\d+)-[0-9a-f]{8}"
)
# A run's end does not wait for a generator that is away; one that answers may have to drain.
_ANSWER_S = 3.0
_TIDY_S = 60.0


def name_prefix(run_id: str, iteration: int, arm: str = "") -> str:
    """``<run>-i<iteration>``, or ``<run>-<arm>-i<iteration>`` for a control arm's adapter.

    The trainer adds a hyphen and eight digits of the adapter's sha256.
    """
    return f"{run_id}-{arm}-i{iteration}" if arm else f"{run_id}-i{iteration}"


async def load(ctx: RunContext, adapter: AdapterRef) -> SwapProof:
    """Load and prove. If there is no slot left, this run's other adapters make room, or an ended run's."""
    with ctx.clock.external("loading"):
        try:
            proof = await ctx.services.generator.load_adapter(adapter)
        except OverloadedError:
            if not await unload_others(ctx, keep=adapter.name) and not await _unload_of_an_ended_run(ctx):
                raise
            proof = await ctx.services.generator.load_adapter(adapter)
        except PreconditionError as error:
            await registering.refused(ctx, adapter, error.message)
            raise
    await registering.proven(ctx, adapter, proof)
    if not proof.already_loaded:
        ctx.journal.emit(
            "adapter.loaded",
            name=adapter.name,
            sha256=adapter.sha256,
            canaries=proof.canaries,
            max_relative_error=proof.max_relative_error,
            tolerance=proof.tolerance,
            mean_shift_nats=proof.mean_shift_nats,
            duration_s=proof.duration_s,
        )
    return proof


async def release(ctx: RunContext, adapter: AdapterRef) -> None:
    """Unload one adapter, whose texts are all drawn."""
    with ctx.clock.external("loading"):
        await ctx.services.generator.unload_adapter(adapter.name)


async def unload_others(ctx: RunContext, keep: str = "") -> int:
    """Unload this run's adapters but ``keep``; returns how many there were."""
    gone = await _others(ctx, keep)
    for name in gone:
        await ctx.services.generator.unload_adapter(name)
    return len(gone)


async def _others(ctx: RunContext, keep: str) -> list[str]:
    loaded = await ctx.services.generator.list_adapters()
    kept = {keep} | await registering.kept_loaded(ctx)
    names = [name for name, _ in loaded if name not in kept]
    return [name for name in names if (ours := _NAME.fullmatch(name)) and ours["run"] == ctx.run_id]


async def _unload_of_an_ended_run(ctx: RunContext) -> bool:
    """Unload the adapter of the oldest run that has ended; False if no such adapter is loaded.

    A run leaves its best adapter loaded, so that without this the runs would fill the generator.
    """
    kept = await registering.kept_loaded(ctx)
    # A run's id begins with its date: by name the oldest comes first.
    for name, _ in sorted(await ctx.services.generator.list_adapters()):
        ours = _NAME.fullmatch(name)
        if ours is None or name in kept:
            continue
        try:
            run = await ctx.stored(ctx.store.get_run, ours["run"])
        except NotFoundError:
            continue  # another orchestrator's
        if run.status.ended:
            await ctx.services.generator.unload_adapter(name)
            log.info("adapter.made_room", run_id=ctx.run_id, unloaded=name)
            return True
    return False


async def tidy(ctx: RunContext, keep: str = "") -> None:
    """``unload_others`` at a run's end, where a failure must not change how the run ended."""
    try:
        with ctx.clock.external("loading"):
            async with asyncio.timeout(_ANSWER_S):
                gone = await _others(ctx, keep)
            async with asyncio.timeout(_TIDY_S):
                for name in gone:
                    await ctx.services.generator.unload_adapter(name)
    except (ValignError, TimeoutError) as error:
        log.warning("adapters.left_loaded", run_id=ctx.run_id, error=repr(error))
