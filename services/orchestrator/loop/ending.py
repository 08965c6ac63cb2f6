"""How a run ends: its status, its last event, and what it leaves in the generator and trainer."""

import asyncio
from typing import Any

import structlog

from services.common.errors import ErrorCode, ValignError
from services.orchestrator.loop import observing, registering
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.swap import tidy
from services.orchestrator.ports import RunStatus, RunStore

log = structlog.get_logger(__name__)

# A trainer that is away answers at once or never.
_CANCEL_TRAINING_S = 10.0


async def succeeded(ctx: RunContext, result: dict[str, Any]) -> None:
    """The best adapter stays loaded; the run's others go."""
    adapter = result.get("adapter")
    if adapter:
        await registering.ended(ctx, adapter["name"])
        await tidy(ctx, keep=adapter["name"])
    await ctx.journal.flush()
    # A retry that replays the report's step finds the run's row without them.
    places = {name: result[name] for name in ("report_uri", "report_html_uri") if name in result}
    await asyncio.to_thread(
        end_run, ctx.store, ctx.run_id, RunStatus.SUCCEEDED, "run.succeeded", result, **places
    )


async def failed(ctx: RunContext, error: ValignError) -> None:
    """Nothing of the run stays loaded, and no job of it goes on."""
    await _stop_training(ctx)
    await tidy(ctx)
    await ctx.journal.flush()
    if error.code is ErrorCode.CANCELLED:
        await asyncio.to_thread(end_run, ctx.store, ctx.run_id, RunStatus.CANCELLED, "run.cancelled", {})
        return
    await asyncio.to_thread(fail_run, ctx.store, ctx.run_id, error)


def fail_run(store: RunStore, run_id: str, error: ValignError) -> None:
    """End a run with an error."""
    data = {"code": error.code.value, "message": error.message, "details": error.details}
    end_run(
        store,
        run_id,
        RunStatus.FAILED,
        "run.failed",
        data,
        error_code=error.code.value,
        error_message=error.message,
    )


def end_run(
    store: RunStore, run_id: str, status: RunStatus, kind: str, data: dict[str, Any], **columns: Any
) -> None:
    """Set the status and tell. Repeated, or after another end, it does nothing."""
    if not store.change_status(run_id, status, kind, data, **columns):
        return
    observing.run_ended(store.get_run(run_id), status, str(columns.get("error_code", "")))
    log.info("run.ended", run_id=run_id, status=status.value)


async def _stop_training(ctx: RunContext) -> None:
    """No job of the run goes on; how far it came is counted. One that has ended, or was never known, is left
    as it is."""
    job_id = await ctx.get_value("training_job")
    if not job_id:
        return
    try:
        async with asyncio.timeout(_CANCEL_TRAINING_S):
            status = await ctx.services.trainer.cancel(job_id)
    except (ValignError, TimeoutError) as error:
        log.warning("training.not_cancelled", run_id=ctx.run_id, job_id=job_id, error=repr(error))
        return
    if status is not None:
        # What its processes cost is known once they have ended.
        ctx.tally.stage = ctx.tally.stage or "realign"
        observing.follow_training(ctx, status)
        await ctx.keep_tally()
