"""Runs on DBOS: a queue, one durable workflow an attempt of a run, and recovery after the process died.

DBOS is one instance a process, lives in this module alone, and runs only while this process leads. What is
to be done stands in the store: the runner looks there, hands runs that wait to DBOS, and stops those that
somebody wants cancelled or paused. Steps are recorded in DBOS's system database; what they return are small
JSON-able envelopes (see ``steps``).
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig
from dbos import error as dbos_error

from services.common import tracing
from services.common.artifacts import ArtifactStore
from services.common.errors import (
    CancelledRequestError,
    InternalError,
    NotFoundError,
    NotReadyError,
    ValignError,
)
from services.common.rpc.fence import Epoch, leading
from services.orchestrator.loop import ending, looking, metrics
from services.orchestrator.loop.answering import require_answer
from services.orchestrator.loop.context import SERVED, Connect, RunContext
from services.orchestrator.loop.full_disk import wait_for_room
from services.orchestrator.loop.journal import Journal
from services.orchestrator.loop.looking import QUEUE as QUEUE
from services.orchestrator.loop.looking import STOP_S, Active, Looking
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.loop.steps import Envelope
from services.orchestrator.loop.tally import USED, Tally
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import LeadershipLost, RunRecord, RunStatus, RunStore
from services.orchestrator.study import Study, resolve

log = structlog.get_logger(__name__)

WORKFLOW = "realign_run"
# Both must stay the same over restarts, or a pending run would belong to somebody else.
EXECUTOR_ID = "orchestrator"


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Where DBOS keeps its records, how many runs go on at once, how often queue and store are looked at."""

    system_database_url: str
    concurrent_runs: int = 1
    queue_poll_s: float = 0.5


class LoopRunner(Looking):
    """The leader's work, and the life of DBOS. ``launch`` and ``shutdown`` may follow each other often."""

    def __init__(
        self, store: RunStore, artifacts: ArtifactStore, connect: Connect, config: LoopConfig
    ) -> None:
        self._unbound = store
        self._store = store
        self._artifacts = artifacts
        self._connect = connect
        self._config = config
        self._epoch: Epoch | None = None
        self._active: dict[str, Active] = {}
        self._handed: set[str] = set()
        self._taken: dict[str, float] = {}
        self._odd: dict[str, float] = {}
        self._workflow: Callable[[str], Any] | None = None
        self._stopping = False
        self._look_now = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._one_look = asyncio.Lock()
        self.cut_off = asyncio.Event()
        """Set when a run was cut by what is no doing of ours: the leadership or the database is gone."""

    async def launch(self, epoch: Epoch | None = None) -> None:
        """Start DBOS in this event loop; pending runs go on, and what the store has to do is done.

        With an epoch, everything that runs do is that leader's: its writes and calls are refused once another
        leads.
        """
        self._epoch = epoch
        self._store = self._unbound if epoch is None else self._unbound.bound(epoch.number)
        self._stopping = False
        self._active, self._handed, self._taken, self._odd = {}, set(), {}, {}
        self.cut_off.clear()
        metrics.begin()
        config: DBOSConfig = {
            "name": "valign-orchestrator",
            "system_database_url": self._config.system_database_url,
            "application_version": looking.LOOP_VERSION,
            "executor_id": EXECUTOR_ID,
            "log_level": "WARNING",
            "enable_otlp": False,
            # LISTEN/NOTIFY would hold a connection; nothing here waits for notifications.
            "use_listen_notify": False,
            # As in the store: the locks of a process that was stopped must not keep a standby waiting.
            "sys_db_idle_transaction_timeout_sec": 7.0,
        }
        await asyncio.to_thread(require_answer, self._config.system_database_url)
        dbos = DBOS(config=config)

        @DBOS.workflow(name=WORKFLOW)
        async def realign_run(run_id: str) -> str:
            with leading(self._epoch):
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
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking())

    def check_ready(self) -> None:
        """NotReadyError before ``launch`` has ended and from ``shutdown`` on."""
        self._launched()

    def nudge(self) -> None:
        """The store has something to do: look now. From the event loop's thread."""
        self._look_now.set()

    async def enqueue(self, run_id: str) -> None:
        """Hand a run over; one that is handed over already stays as it is."""
        self._launched()
        await self._look()

    async def cancel(self, run_id: str) -> None:
        """Do what the store says of this run now. Before ``launch`` and from ``shutdown`` on it is done at
        the next launch."""
        if self._workflow is not None and not self._stopping:
            await self._look()

    async def shutdown(self) -> None:
        """Leave every run where it is: it stays pending, and whoever leads next resumes it."""
        self._stopping = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        tasks = [active.task for active in self._active.values() if active.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        self._workflow = None
        metrics.forget_open()
        # DBOS made its threads the event loop's, and ends them: the process goes on and needs some.
        ours = ThreadPoolExecutor(thread_name_prefix="asyncio")
        with ThreadPoolExecutor(1) as ending_it:
            asyncio.get_running_loop().set_default_executor(ours)
            await asyncio.get_running_loop().run_in_executor(ending_it, _destroy)
        asyncio.get_running_loop().set_default_executor(ours)

    def _launched(self) -> Callable[[str], Any]:
        if self._workflow is None or self._stopping:
            raise NotReadyError("the orchestrator is starting or stopping; try again in a few seconds")
        return self._workflow

    # What the store has to do

    async def _keep_looking(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._config.queue_poll_s):
                        await self._look_now.wait()
                self._look_now.clear()
                await self._look()
        except LeadershipLost as lost:
            log.warning("loop.cut_off", reason=str(lost))
            self.cut_off.set()
        except Exception:
            # A look is begun anew by whoever leads next, this process or another.
            log.exception("loop.cut_off")
            self.cut_off.set()

    # One run

    async def _run(self, run_id: str) -> str:
        """The workflow: ends the run in the store whatever happens; returns the final status."""
        active = Active(asyncio.current_task(), asyncio.Event())
        try:
            return await self._attempt(run_id, active)
        except asyncio.CancelledError as error:
            if not self._stopping and not active.pausing:
                log.warning("run.cut_off", run_id=run_id, reason=str(error))
                self.cut_off.set()
            raise
        finally:
            if self._active.get(run_id) is active:
                del self._active[run_id]

    async def _attempt(self, run_id: str, active: Active) -> str:
        record = await asyncio.to_thread(self._store.get_run, run_id)
        if record.status.ended or record.workflow_id != DBOS.workflow_id:
            # Ended, or begun anew under another id, before this workflow's own end was recorded.
            return record.status.value
        self._active[run_id] = active
        try:
            with (
                structlog.contextvars.bound_contextvars(run_id=run_id),
                tracing.within(tracing.in_run(run_id)),
            ):
                await asyncio.to_thread(
                    self._store.change_status, run_id, RunStatus.RUNNING, "run.started", {"name": record.name}
                )
                record = await asyncio.to_thread(self._store.get_run, run_id)
                if record.cancel_requested:
                    active.cancelled.set()
                await self._follow(record, active)
        finally:
            self._handed.discard(record.workflow_id)
        return (await asyncio.to_thread(self._store.get_run, run_id)).status.value

    async def _context(self, record: RunRecord, cancelled: asyncio.Event) -> RunContext | None:
        """What the run's steps share; None if the run cannot be read, and has been ended for that."""
        journal = Journal(self._store, record.run_id, record.name)
        try:
            resolved = await asyncio.to_thread(lambda: resolve(Study.model_validate(dict(record.study))))
            ruler = await asyncio.to_thread(load_ruler, self._artifacts, resolved.study.ruler)
            used = await asyncio.to_thread(self._store.get_value, record.run_id, USED)
            served = await asyncio.to_thread(self._store.get_value, record.run_id, SERVED)
        except NotFoundError as error:
            await asyncio.to_thread(ending.fail_run, self._store, record.run_id, error)
            return None
        except (ValignError, ValueError) as error:
            fault = InternalError(f"the stored study of run {record.run_id} cannot be read: {error}")
            await asyncio.to_thread(ending.fail_run, self._store, record.run_id, fault)
            return None

        def on_waiting(service: str, reason: str) -> None:
            if journal.due(f"waiting {service}"):
                metrics.WAITS.labels(service).inc()
                journal.emit("service.waiting", service=service, reason=reason)

        try:
            services = self._connect(resolved.study, on_waiting, served or {})
        except ValignError as error:
            # For example an endpoint that may not be called any more.
            await asyncio.to_thread(ending.fail_run, self._store, record.run_id, error)
            return None

        return RunContext(
            run_id=record.run_id,
            resolved=resolved,
            services=services,
            store=self._store,
            artifacts=self._artifacts,
            journal=journal,
            cancelled=cancelled,
            ruler=ruler,
            attempt=record.attempt,
            tally=Tally(used),
        )

    async def _follow(self, record: RunRecord, active: Active) -> None:
        ctx = await self._context(record, active.cancelled)
        if ctx is not None:
            await self._closing(ctx, self._steps(ctx, active))

    async def _closing(self, ctx: RunContext, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            await ctx.journal.settle()
            if ctx.services.endpoint is not None:
                await ctx.services.endpoint.aclose()

    async def _steps(self, ctx: RunContext, active: Active) -> None:
        try:
            if active.cancelled.is_set():
                raise CancelledRequestError("the run was cancelled")
            result = await realign_model(ctx, _record)
        except ValignError as error:
            await ending.failed(ctx, error)
        except dbos_error.DBOSWorkflowCancelledError as error:
            # DBOS refuses the first step of a workflow that was cancelled as it left the queue, and the next
            # one of a workflow that is being paused.
            record = await asyncio.to_thread(self._store.get_run, ctx.run_id)
            if not record.cancel_requested:
                active.pausing = True
                raise asyncio.CancelledError("paused") from error
            await ending.failed(ctx, CancelledRequestError(str(error)))
        else:
            await ending.succeeded(ctx, result)


def _destroy() -> None:
    DBOS.destroy(destroy_registry=True)


async def _record(name: str, body: Callable[[], Awaitable[Envelope]]) -> Envelope:
    async def step() -> Envelope:
        return await body()

    return await DBOS.run_step_async({"name": name}, step)
