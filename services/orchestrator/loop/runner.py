"""Runs on DBOS: a queue, one durable workflow a run, and recovery after the process died.

DBOS is one instance a process and lives in this module alone. Steps are recorded in its system
database; what they return are small JSON-able envelopes (see ``steps``).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import error as dbos_error

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    CancelledRequestError,
    InternalError,
    NotFoundError,
    NotReadyError,
    PreconditionError,
    ValignError,
)
from services.orchestrator.loop import ending, metrics
from services.orchestrator.loop.context import Connect, RunContext
from services.orchestrator.loop.full_disk import wait_for_room
from services.orchestrator.loop.journal import Journal
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.loop.steps import Envelope
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import RunStatus, RunStore
from services.orchestrator.study import Study, resolve

log = structlog.get_logger(__name__)

QUEUE = "realign_runs"
WORKFLOW = "realign_run"
# Both must stay the same over restarts, or a pending run would belong to somebody else.
EXECUTOR_ID = "orchestrator"
LOOP_VERSION = "valign-loop-2"
"""Changes with the order or meaning of steps; runs of another version are not resumed."""

_STOP_S = 10.0
_ALIVE = frozenset({"PENDING", "ENQUEUED", "DELAYED"})


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Where DBOS keeps its records, and how many runs go on at once."""

    system_database_url: str
    concurrent_runs: int = 1
    queue_poll_s: float = 0.5


class LoopRunner:
    """The RunQueue port, and the life of DBOS."""

    def __init__(
        self, store: RunStore, artifacts: ArtifactStore, connect: Connect, config: LoopConfig
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._connect = connect
        self._config = config
        self._active: dict[str, tuple[asyncio.Task[Any] | None, asyncio.Event]] = {}
        self._workflow: Callable[[str], Any] | None = None
        self._stopping = False

    async def launch(self) -> None:
        """Start DBOS in this event loop; pending runs go on, and runs that were lost are handed over."""
        config: DBOSConfig = {
            "name": "valign-orchestrator",
            "system_database_url": self._config.system_database_url,
            "application_version": LOOP_VERSION,
            "executor_id": EXECUTOR_ID,
            "log_level": "WARNING",
            "enable_otlp": False,
            # LISTEN/NOTIFY would hold a connection; nothing here waits for notifications.
            "use_listen_notify": False,
        }
        dbos = DBOS(config=config)

        @DBOS.workflow(name=WORKFLOW)
        async def realign_run(run_id: str) -> str:
            return await self._run(run_id)

        DBOS.launch()
        wait_for_room(dbos._sys_db.engine)
        await DBOS.register_queue_async(
            QUEUE,
            global_concurrency=self._config.concurrent_runs,
            polling_interval_sec=self._config.queue_poll_s,
            on_conflict="always_update",
        )
        self._workflow = realign_run
        await self._reconcile()

    def check_ready(self) -> None:
        """NotReadyError before ``launch`` has ended and from ``shutdown`` on."""
        self._launched()

    async def enqueue(self, run_id: str) -> None:
        """Hand a run over; one that is handed over already stays as it is."""
        workflow = self._launched()
        with SetWorkflowID(run_id):
            await DBOS.enqueue_workflow_async(QUEUE, workflow, run_id)

    async def cancel(self, run_id: str) -> None:
        """End a run: at its next await if it runs here, at once if it waits.

        Before ``launch`` and from ``shutdown`` on, what the store says of it ends it at the next launch.
        """
        active = self._active.get(run_id)
        if active is not None:
            active[1].set()
            return
        if self._workflow is None or self._stopping:
            return
        await DBOS.cancel_workflow_async(run_id)
        # It may have begun between the two lines above: then it sees the store's flag, or its event.
        active = self._active.get(run_id)
        if active is not None:
            active[1].set()
            return
        await asyncio.to_thread(ending.end_run, self._store, run_id, RunStatus.CANCELLED, "run.cancelled", {})

    async def shutdown(self) -> None:
        """Leave every run where it is: it stays pending, and the next process resumes it."""
        self._stopping = True
        tasks = [task for task, _ in self._active.values() if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_S)
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)

    def _launched(self) -> Callable[[str], Any]:
        if self._workflow is None or self._stopping:
            raise NotReadyError("the orchestrator is starting or stopping; try again in a few seconds")
        return self._workflow

    async def _run(self, run_id: str) -> str:
        """The workflow: ends the run in the store whatever happens; returns the final status."""
        record = await asyncio.to_thread(self._store.get_run, run_id)
        if record.status.ended:
            return record.status.value
        cancelled = asyncio.Event()
        self._active[run_id] = (asyncio.current_task(), cancelled)
        metrics.RUNS.labels("running").inc()
        try:
            with structlog.contextvars.bound_contextvars(run_id=run_id):
                await asyncio.to_thread(
                    self._store.change_status, run_id, RunStatus.RUNNING, "run.started", {"name": record.name}
                )
                record = await asyncio.to_thread(self._store.get_run, run_id)
                if record.cancel_requested:
                    cancelled.set()
                await self._follow(run_id, record.study, cancelled)
        finally:
            metrics.RUNS.labels("running").dec()
            del self._active[run_id]
        return (await asyncio.to_thread(self._store.get_run, run_id)).status.value

    async def _follow(self, run_id: str, study: Any, cancelled: asyncio.Event) -> None:
        journal = Journal(self._store, run_id)
        try:
            resolved = await asyncio.to_thread(lambda: resolve(Study.model_validate(dict(study))))
            ruler = await asyncio.to_thread(load_ruler, self._artifacts, resolved.study.ruler)
        except NotFoundError as error:
            await asyncio.to_thread(ending.fail_run, self._store, run_id, error)
            return
        except (ValignError, ValueError) as error:
            fault = InternalError(f"the stored study of run {run_id} cannot be read: {error}")
            await asyncio.to_thread(ending.fail_run, self._store, run_id, fault)
            return

        def on_waiting(service: str, reason: str) -> None:
            if journal.due(f"waiting {service}"):
                journal.emit("service.waiting", service=service, reason=reason)

        ctx = RunContext(
            run_id=run_id,
            resolved=resolved,
            services=self._connect(resolved.study, on_waiting),
            store=self._store,
            artifacts=self._artifacts,
            journal=journal,
            cancelled=cancelled,
            ruler=ruler,
        )
        try:
            if cancelled.is_set():
                raise CancelledRequestError("the run was cancelled")
            result = await realign_model(ctx, _record)
        except ValignError as error:
            await ending.failed(ctx, error)
        except dbos_error.DBOSWorkflowCancelledError as error:
            # Cancelled as it left the queue: DBOS refuses its first step.
            await ending.failed(ctx, CancelledRequestError(str(error)))
        else:
            await ending.succeeded(ctx, result)
        finally:
            if ctx.services.endpoint is not None:
                await ctx.services.endpoint.aclose()

    async def _reconcile(self) -> None:
        """Runs in the store that DBOS does not know (a crash between the two) are handed over; those
        whose workflow is over are ended."""
        for status in (RunStatus.QUEUED, RunStatus.RUNNING):
            token, more = "", True
            while more:
                runs, token = await asyncio.to_thread(
                    self._store.list_runs, status=status, page_size=100, page_token=token
                )
                more = bool(token)
                for run in runs:
                    await self._reconcile_run(run.run_id)

    async def _reconcile_run(self, run_id: str) -> None:
        status = await DBOS.get_workflow_status_async(run_id)
        if status is None:
            log.info("run.handed_over", run_id=run_id)
            await self.enqueue(run_id)
        elif status.app_version not in (None, LOOP_VERSION):
            outdated = PreconditionError(
                f"the run was begun by loop version {status.app_version}, and this one is {LOOP_VERSION}:"
                " start it anew"
            )
            await DBOS.cancel_workflow_async(run_id)
            await asyncio.to_thread(ending.fail_run, self._store, run_id, outdated)
        elif status.status not in _ALIVE and run_id not in self._active:
            record = await asyncio.to_thread(self._store.get_run, run_id)
            if record.cancel_requested:
                await asyncio.to_thread(
                    ending.end_run, self._store, run_id, RunStatus.CANCELLED, "run.cancelled", {}
                )
            elif not record.status.ended:
                fault = InternalError(f"the run's workflow is over ({status.status}) and left no result")
                await asyncio.to_thread(ending.fail_run, self._store, run_id, fault)


async def _record(name: str, body: Callable[[], Awaitable[Envelope]]) -> Envelope:
    async def step() -> Envelope:
        return await body()

    return await DBOS.run_step_async({"name": name}, step)
