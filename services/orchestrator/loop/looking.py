"""What the leader finds to do in the store: runs to hand to DBOS, to cancel, to pause, to put back."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from dbos import DBOS, SetWorkflowID

from services.common.errors import CancelledRequestError, InternalError, PreconditionError
from services.common.rpc.fence import Epoch, leading
from services.orchestrator.loop import ending, metrics
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.workflows import as_records
from services.orchestrator.ports import OpenRun, RunRecord, RunStatus, RunStore
from services.orchestrator.store.control import workflow_id_of

log = structlog.get_logger(__name__)

QUEUE = "realign_runs"
LOOP_VERSION = "valign-loop-2"
"""Changes with the order or meaning of steps; runs of another version are not resumed."""

STOP_S = 10.0
"""Seconds that a run gets to stop."""
_TAKEN_S = 5.0
_ODD_S = 30.0
_ALIVE = frozenset({"PENDING", "ENQUEUED", "DELAYED"})
_STOPPED = "CANCELLED"


@dataclass(slots=True, eq=False)
class Active:
    """A run that goes on in this process."""

    task: "asyncio.Task[Any] | None"
    cancelled: asyncio.Event
    pausing: bool = False


class Looking:
    """The part of ``LoopRunner`` that looks at the store."""

    _store: RunStore
    _epoch: Epoch | None
    _active: dict[str, Active]
    _handed: set[str]
    # Since when a workflow was seen that neither waits for us nor goes on here.
    _taken: dict[str, float]
    # Runs to leave alone, and until when.
    _odd: dict[str, float]
    _one_look: asyncio.Lock
    _launched: Callable[[], Callable[[str], Any]]
    _context: Callable[[RunRecord, asyncio.Event], Awaitable[RunContext | None]]
    _closing: Callable[[RunContext, Awaitable[None]], Awaitable[None]]

    async def _look(self) -> None:
        async with self._one_look:
            found = await asyncio.to_thread(self._store.open_runs)
            metrics.show_open(Counter(run.status.value for run in found))
            for run in found:
                if self._odd.get(run.run_id, 0.0) > time.monotonic():
                    continue
                try:
                    await self._look_at(run)
                except Exception:
                    # One run that cannot be dealt with holds no other back; it is tried again after a while.
                    log.exception("run.not_dealt_with", run_id=run.run_id)
                    self._odd[run.run_id] = time.monotonic() + _ODD_S

    async def _look_at(self, run: OpenRun) -> None:
        if run.cancel_requested:
            await self._cancel(run)
        elif run.pause_requested:
            await self._pause(run)
        elif run.workflow_id not in self._handed:
            await self._hand_over(run)
        elif run.run_id not in self._active:
            await self._look_after(run)
        else:
            self._taken.pop(run.workflow_id, None)

    async def _look_after(self, run: OpenRun) -> None:
        """A workflow that was taken from the queue and goes on nowhere goes back: a former leader's DBOS may
        have taken it before it stopped."""
        since_s = self._taken.setdefault(run.workflow_id, time.monotonic())
        if time.monotonic() - since_s < _TAKEN_S:
            return
        del self._taken[run.workflow_id]
        status = await DBOS.get_workflow_status_async(run.workflow_id)
        if status is not None and status.status == "PENDING" and run.run_id not in self._active:
            log.warning("run.put_back", run_id=run.run_id, workflow_id=run.workflow_id)
            await DBOS.resume_workflow_async(run.workflow_id, queue_name=QUEUE)

    async def _hand_over(self, run: OpenRun) -> None:
        """Make sure that the run's workflow is queued, or goes on; a workflow that is over ends its run."""
        status = await DBOS.get_workflow_status_async(run.workflow_id)
        if status is None:
            log.info("run.handed_over", run_id=run.run_id, workflow_id=run.workflow_id)
            await self._begin(run)
        elif status.app_version not in (None, LOOP_VERSION):
            await DBOS.cancel_workflow_async(run.workflow_id)
            await self._fail_outdated(run, status.app_version)
        elif status.status == _STOPPED and run.run_id not in self._active:
            await DBOS.resume_workflow_async(run.workflow_id, queue_name=QUEUE)
        elif status.status not in _ALIVE and run.run_id not in self._active:
            fault = InternalError(f"the run's workflow is over ({status.status}) and left no result")
            await asyncio.to_thread(ending.fail_run, self._store, run.run_id, fault)
        self._handed.add(run.workflow_id)

    async def _fail_outdated(self, run: OpenRun, version: str | None) -> None:
        outdated = PreconditionError(
            f"the run was begun by loop version {version}, and this one is {LOOP_VERSION}: start it anew"
        )
        await asyncio.to_thread(ending.fail_run, self._store, run.run_id, outdated)

    async def _begin(self, run: OpenRun) -> None:
        """A first attempt from its first step; another from its step on, with what was recorded."""
        for attempt in range(run.attempt - 1, 0, -1):
            earlier = workflow_id_of(run.run_id, attempt)
            before = await DBOS.get_workflow_status_async(earlier)
            if before is not None and before.app_version not in (None, LOOP_VERSION):
                await self._fail_outdated(run, before.app_version)
                return
            if before is not None:
                steps = as_records(await DBOS.list_workflow_steps_async(earlier))
                number = next((step.number for step in steps if step.name == run.retry_from), len(steps) + 1)
                with SetWorkflowID(run.workflow_id):
                    await DBOS.fork_workflow_async(
                        earlier, number, application_version=LOOP_VERSION, queue_name=QUEUE
                    )
                return
        with SetWorkflowID(run.workflow_id):
            await DBOS.enqueue_workflow_async(QUEUE, self._launched(), run.run_id)

    async def _cancel(self, run: OpenRun) -> None:
        """End a run: at its next await if it goes on here, at once if it waits or is paused."""
        if self._stop_active(run):
            return
        if await DBOS.get_workflow_status_async(run.workflow_id) is not None:
            await DBOS.cancel_workflow_async(run.workflow_id)
            # It may have begun between the two lines above: then it sees the store's flag, or its event.
            if self._stop_active(run):
                return
        if run.stage or run.attempt > 1:
            # It had begun: an adapter may be loaded, and a job may go on.
            with leading(self._epoch):
                record = await asyncio.to_thread(self._store.get_run, run.run_id)
                ctx = await self._context(record, asyncio.Event())
                if ctx is not None:
                    await self._closing(
                        ctx, ending.failed(ctx, CancelledRequestError("the run was cancelled"))
                    )
            return
        await asyncio.to_thread(
            ending.end_run, self._store, run.run_id, RunStatus.CANCELLED, "run.cancelled", {}
        )

    def _stop_active(self, run: OpenRun) -> bool:
        active = self._active.get(run.run_id)
        if active is not None:
            active.cancelled.set()
        return active is not None

    async def _pause(self, run: OpenRun) -> None:
        """Stop a run where it is. The step that is cut is not recorded; resuming begins with it."""
        active = self._active.get(run.run_id)
        if active is not None:
            active.pausing = True
        if await DBOS.get_workflow_status_async(run.workflow_id) is not None:
            await DBOS.cancel_workflow_async(run.workflow_id)
        active = self._active.get(run.run_id)
        if active is not None and active.task is not None:
            active.pausing = True
            active.task.cancel()
            await asyncio.wait({active.task}, timeout=STOP_S)
            if not active.task.done():
                log.warning("run.pause_slow", run_id=run.run_id)
                return
        self._handed.discard(run.workflow_id)
        await asyncio.to_thread(self._store.mark_paused, run.run_id)
