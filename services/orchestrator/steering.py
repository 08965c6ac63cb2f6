"""Pausing, resuming and retrying runs, and the steps at which a retry can begin.

Requests are written to the store, by whichever process is asked; the process that leads acts on them.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.budget import STOPPED, with_budget
from services.orchestrator.ports import RunQueue, RunRecord, RunStatus, RunStore, StepReader, StepRecord

_STEP = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class Steering:
    """The application's part that steers runs; every method raises a ValignError for what a caller can get
    wrong (NotFoundError for a run that there is not)."""

    def __init__(self, store: RunStore, queue: RunQueue, steps: StepReader, max_queued_runs: int = 0) -> None:
        """``max_queued_runs`` 0 is no limit."""
        self._store = store
        self._queue = queue
        self._steps = steps
        self._max_queued_runs = max_queued_runs

    async def pause(self, run_id: str) -> RunRecord:
        """Ask a run to stop where it is; training in progress goes on to its end. Again changes nothing.

        PreconditionError: it has ended, or is being cancelled.
        """
        return await self._told(await asyncio.to_thread(self._store.request_pause, run_id))

    async def resume(self, run_id: str) -> RunRecord:
        """Let a paused run go on, or take a pause back that has only been asked for.

        PreconditionError: it is not paused.
        """
        return await self._told(await asyncio.to_thread(self._store.request_resume, run_id))

    async def retry(
        self, run_id: str, from_step: str = "", budget: Mapping[str, float] | None = None
    ) -> RunRecord:
        """Open a run that has ended again from a recorded step: what was drawn and trained before is used
        again, and a training job that failed is begun anew. Without a step it is the one that failed, or was
        cut, or at which the run's budget has ended it. ``budget`` are limits, by name, to have instead of
        the study's own.

        PreconditionError: it has not ended, has succeeded and no step is named, or its budget has ended it
        and is no larger now. InvalidInputError: it has recorded no such step, or a limit is wrong.
        OverloadedError: too many runs wait.
        """
        run = await asyncio.to_thread(self._store.get_run, run_id)
        study = with_budget(run.study, budget) if budget else None
        if run.status.ended:
            steps = await asyncio.to_thread(self._steps.steps, run)
            stopped = await asyncio.to_thread(self._store.get_value, run_id, STOPPED)
            if stopped and not from_step and (budget or _ended_by_budget(run, steps, stopped)):
                _require_larger(run, stopped, study or run.study)
                from_step = stopped["step"]
            if run.status is RunStatus.SUCCEEDED and not from_step:
                raise PreconditionError(
                    f"run {run_id} has succeeded: name the step to repeat it from, for example 'verdict'"
                )
            from_step = _where(run, steps, from_step)
        opened = await asyncio.to_thread(
            self._store.retry_run, run_id, from_step, seen=run, max_queued=self._max_queued_runs, study=study
        )
        return await self._told(opened)

    async def steps(self, run_id: str) -> list[StepRecord]:
        """The steps that a run has recorded, in order."""
        run = await asyncio.to_thread(self._store.get_run, run_id)
        return await asyncio.to_thread(self._steps.steps, run)

    async def _told(self, run: RunRecord) -> RunRecord:
        await self._queue.enqueue(run.run_id)
        return run


def _ended_by_budget(run: RunRecord, steps: list[StepRecord], stopped: Mapping[str, Any]) -> bool:
    """A run that the budget has stopped may go on to its end and fail there, or be cancelled: then that is
    what ended it."""
    if run.status is RunStatus.SUCCEEDED:
        return True
    return run.status is RunStatus.FAILED and bool(steps) and steps[-1].name == stopped["step"]


def _require_larger(run: RunRecord, stopped: Mapping[str, Any], study: Mapping[str, Any]) -> None:
    limit = study.get("budget", {}).get(stopped["limit"])
    if limit is not None and limit <= stopped["allowed"]:
        raise PreconditionError(
            f"the budget has ended run {run.run_id}: budget.{stopped['limit']} is {limit:,.0f}, of which"
            f" {stopped['used']:,.0f} are used; retry it with a larger {stopped['limit']}"
        )


def _where(run: RunRecord, steps: list[StepRecord], from_step: str) -> str:
    """The step to begin at; empty for the one after the last recorded."""
    if not from_step:
        return next((step.name for step in steps if step.error_code), "")
    if from_step not in {step.name for step in steps}:
        known = ", ".join(step.name for step in steps) or "none yet"
        shown = from_step if _STEP.fullmatch(from_step) else repr(from_step[:80])
        raise InvalidInputError(f"run {run.run_id} has recorded no step {shown}; it has: {known}")
    return from_step
