"""The queue of training jobs: one child process at a time, the others wait in order.

A child is a process of its own, so that its memory comes back and a cancel is a kill. It
dies with the service, and says its last word in a file; the service reads its progress from
another. What the service knows is on disk before anybody is told, so that a restarted
service goes on where the old one stopped.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import structlog

from services.common.artifacts import MANIFEST_NAME, ArtifactStore
from services.common.errors import (
    ConflictError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.common.rpc.server import Health
from services.trainer import metrics
from services.trainer.settings import TrainerSettings
from services.trainer.store import EXIT_NO_SPACE, JobFolder, JobStore, Outcome, no_space
from services.trainer.telemetry import children_cpu_s, job_span, note_origin
from services.trainer.types import Job, JobState, TrainingSpec
from services.trainer.validation import check_job_id, check_spec

log = structlog.get_logger(__name__)

_POLL_S = 0.1
_WRITE_S = 5.0


class JobRunner:
    """Knows every job, runs them one after the other, tells watchers.

    ``run`` is the loop that runs jobs; everything else may be called while it runs. Not
    thread-safe: all of it belongs to one event loop.
    """

    def __init__(self, settings: TrainerSettings) -> None:
        self._settings = settings
        self._store = JobStore(settings.state_dir)
        self._jobs: dict[str, Job] = {}
        self._queue: deque[str] = deque()
        self._wake = asyncio.Event()
        self._watchers: dict[str, set[asyncio.Queue[Job | None]]] = {}
        self._child: Process | None = None
        self._cancelled: set[str] = set()
        self._open = False
        self._closed = asyncio.Event()
        self._closed.set()

    def start(self, job_id: str, spec: TrainingSpec, *, restart_ended: bool = False) -> tuple[Job, bool]:
        """Queue a job, or attach to the one with this id; the second value says which.

        ``restart_ended`` queues a known job anew if it has failed or was cancelled; nothing of its earlier
        life stays.

        Raises:
            InvalidInputError: the id or the spec is wrong.
            ConflictError: the id is known with another spec.
            OverloadedError: too many jobs wait.
            NotReadyError: the service is starting or draining, or its disk is full.
        """
        self._check_open()
        check_job_id(job_id)
        known = self._jobs.get(job_id)
        if known is not None:
            if known.spec_sha256 != spec.sha256:
                raise ConflictError(
                    f"job {job_id!r} exists with another spec; use another id for other content"
                )
            if not (restart_ended and self._begins_anew(known)):
                return known, True
        check_spec(spec)
        if len(self._queue) >= self._settings.max_queued_jobs:
            raise OverloadedError(f"{len(self._queue)} jobs are waiting already; try again later")
        job = Job(job_id, spec.sha256, time.time_ns())
        try:
            if known is not None:
                # What stopped for want of space or of a cluster goes on from its last checkpoint, and is the
                # same job with what it has cost.
                keep_work = known.error_code == ErrorCode.NOT_READY
                if keep_work:
                    job = replace(known, state=JobState.QUEUED, error_code="", error_message="", deaths=0)
                self._store.folder(job_id).drop_results(keep_work=keep_work)
            self._store.create(job, spec)
            note_origin(self._store.folder(job_id))
        except OSError as error:
            if not no_space(error):
                raise
            raise NotReadyError(f"the trainer takes no job: {self._full()}") from error
        self._jobs[job_id] = job
        self._enqueue(job_id)
        log.info("job.queued", job_id=job_id, waiting=len(self._queue))
        return job, False

    def _begins_anew(self, job: Job) -> bool:
        """A job that failed or was cancelled, and one whose adapter is gone from the store."""
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            return True
        if job.state is not JobState.SUCCEEDED or job.adapter is None:
            return False
        try:
            return not ArtifactStore(self._settings.artifacts_uri).exists(
                f"{job.adapter.uri}/{MANIFEST_NAME}"
            )
        except InvalidInputError:
            # In a store that this trainer no longer has: nothing is known of it.
            return False

    def get(self, job_id: str) -> Job:
        """The job's state; raises NotFoundError for an unknown id."""
        self._check_open()
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(f"there is no training job {job_id!r}")
        return job

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """The job's state, then every change, until it has ended.

        Raises:
            NotFoundError: unknown id.
            NotReadyError: the service is draining; the job goes on after its restart.
        """
        job = self.get(job_id)
        # Subscribed before the first yield: no change can fall in between.
        changes: asyncio.Queue[Job | None] = asyncio.Queue()
        self._watchers.setdefault(job_id, set()).add(changes)
        try:
            yield job
            while not job.state.ended:
                change = await changes.get()
                if change is None:
                    raise NotReadyError(f"the trainer is stopping; job {job_id!r} goes on when it is back")
                job = change
                yield job
        finally:
            self._watchers[job_id].discard(changes)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    async def cancel(self, job_id: str) -> Job:
        """Kill the job's process; a job that has ended stays as it is."""
        job = self.get(job_id)
        if job.state is JobState.QUEUED:
            self._queue.remove(job_id)
            metrics.JOBS_WAITING.set(len(self._queue))
            self._end(job, JobState.CANCELLED)
        elif job.state is JobState.RUNNING:
            self._cancelled.add(job_id)
            self._kill_child()
            async for job in self.watch(job_id):
                if job.state.ended:
                    break
        return self._jobs[job_id]

    async def run(self, health: Health) -> None:
        """Load what is on disk, report SERVING, and run jobs until cancelled.

        Raises:
            PreconditionError: another trainer uses the state folder.
        """
        with self._state_lock():
            self._load()
            metrics.begin()
            self._open = True
            self._closed.clear()
            try:
                await health.set_serving(True)
                while True:
                    while self._queue:
                        job_id = self._queue.popleft()
                        metrics.JOBS_WAITING.set(len(self._queue))
                        await self._run_job(self._jobs[job_id])
                    self._wake.clear()
                    await self._wake.wait()
            finally:
                self._open = False
                await self._stop_child()
                for queues in self._watchers.values():
                    for changes in queues:
                        changes.put_nowait(None)
                self._closed.set()

    async def wait_closed(self) -> None:
        """Wait until a cancelled ``run`` has killed its child."""
        await self._closed.wait()

    def _check_open(self) -> None:
        if not self._open:
            raise NotReadyError("the trainer is starting or stopping; try again later")

    @contextlib.contextmanager
    def _state_lock(self) -> Iterator[None]:
        self._settings.state_dir.mkdir(parents=True, exist_ok=True)
        with (self._settings.state_dir / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PreconditionError(
                    f"another trainer uses the state folder {self._settings.state_dir}; give each its own"
                ) from None
            yield

    def _load(self) -> None:
        for job in self._store.load_all():
            self._jobs[job.job_id] = job
            if not job.state.ended:
                self._enqueue(job.job_id)
                log.info("job.resumed", job_id=job.job_id, state=job.state)

    def _enqueue(self, job_id: str) -> None:
        self._queue.append(job_id)
        metrics.JOBS_WAITING.set(len(self._queue))
        self._wake.set()

    async def _run_job(self, job: Job) -> None:
        """Start the child as often as is needed, until the job has ended."""
        folder = self._store.folder(job.job_id)
        exit_code = 0
        with job_span(job, folder) as told:
            while not job.state.ended:
                # The child of an earlier service may have had its last word already.
                outcome = folder.read_outcome()
                if outcome is None and job.job_id not in self._cancelled:
                    job = self._change(replace(job, state=JobState.RUNNING, attempts=job.attempts + 1))
                    exit_code = await self._life_of_child(job, folder)
                    job = self._jobs[job.job_id]
                    outcome = folder.read_outcome()
                job = self._conclude(job, folder, outcome, exit_code)
            told(job)

    def _conclude(self, job: Job, folder: JobFolder, outcome: Outcome | None, exit_code: int) -> Job:
        """What a child's end means for its job."""
        if outcome is not None and outcome.adapter is not None:
            return self._end(replace(job, adapter=outcome.adapter), JobState.SUCCEEDED)
        if job.job_id in self._cancelled:
            return self._end(job, JobState.CANCELLED)
        if outcome is not None:
            if outcome.error_code == ErrorCode.INTERNAL:
                log.error("job.fault", job_id=job.job_id, log_tail=folder.log_tail())
            failed = replace(job, error_code=outcome.error_code, error_message=outcome.error_message)
            # What may go another time, as where no cluster answers, goes on from its last checkpoint.
            return self._end(failed, JobState.FAILED, keep_work=outcome.error_code == ErrorCode.NOT_READY)
        if exit_code == EXIT_NO_SPACE:
            message = f"the training stopped at its last checkpoint: {self._full()}"
            log.error("job.no_space", job_id=job.job_id)
            full = replace(job, error_code=ErrorCode.NOT_READY, error_message=message)
            return self._end(full, JobState.FAILED, keep_work=True)
        metrics.CHILD_DEATHS.inc()
        deaths = job.deaths + 1
        log.error("job.child_died", job_id=job.job_id, exit_code=exit_code, deaths=deaths)
        if deaths <= self._settings.max_restarts:
            return self._change(replace(job, deaths=deaths))
        log.error("job.gave_up", job_id=job.job_id, log_tail=folder.log_tail())
        message = (
            f"the training process died {deaths} times without an error (last exit status {exit_code}; "
            "-9 often means that memory ran out); the trainer's log has the end of its output"
        )
        failed = replace(job, deaths=deaths, error_code=ErrorCode.INTERNAL, error_message=message)
        return self._end(failed, JobState.FAILED)

    def _full(self) -> str:
        return (
            f"the disk of its state folder {self._settings.state_dir} or of the artifacts"
            f" {self._settings.artifacts_uri} has no space left; make room and start the job again"
        )

    async def _life_of_child(self, job: Job, folder: JobFolder) -> int:
        """As ``_run_child``; a disk too full to start one is that child's end."""
        try:
            return await self._run_child(job, folder)
        except OSError as error:
            if not no_space(error):
                raise
            return EXIT_NO_SPACE

    async def _run_child(self, job: Job, folder: JobFolder) -> int:
        """One life of the child: start it, follow its progress, return its exit status."""
        settings = self._settings
        started = time.monotonic()
        before_s, cpu_before_s = job.duration_s, children_cpu_s()
        written = started
        _, offset = folder.read_progress(0)
        with folder.log.open("ab") as output:
            self._child = child = await self._spawn(folder.path, output)
        if job.job_id in self._cancelled:
            self._kill_child()
        log.info(
            "job.started", job_id=job.job_id, pid=child.pid, attempt=job.attempts, device=settings.device
        )
        ended = asyncio.create_task(child.wait())
        try:
            while True:
                done, _ = await asyncio.wait({ended}, timeout=_POLL_S)
                points, offset = folder.read_progress(offset)
                now = time.monotonic()
                for point in points:
                    metrics.show_progress(point, self._jobs[job.job_id].progress)
                    job = replace(self._jobs[job.job_id], progress=point, duration_s=before_s + now - started)
                    # The curve is on disk already; the time spent is written now and then.
                    self._change(job, write=now - written > _WRITE_S)
                    written = now if now - written > _WRITE_S else written
                if done:
                    return ended.result()
        finally:
            ended.cancel()
            lived_s, cpu_s = time.monotonic() - started, children_cpu_s() - cpu_before_s
            job = self._jobs[job.job_id]
            on_gpus = job.progress.workers if job.progress and job.progress.device == "cuda" else 0
            gpu_s = lived_s * on_gpus
            metrics.CPU_SECONDS.inc(cpu_s)
            metrics.GPU_SECONDS.inc(gpu_s)
            cpu_s, gpu_s = job.cpu_s + cpu_s, job.gpu_s + gpu_s
            self._change(replace(job, duration_s=before_s + lived_s, cpu_s=cpu_s, gpu_s=gpu_s))
            if child.returncode is not None:
                self._child = None

    async def _spawn(self, job_dir: Path, output: IO[bytes]) -> Process:
        settings = self._settings
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.trainer.lora", str(job_dir)),
            *("--parent", str(os.getpid())),
            *("--artifacts", settings.artifacts_uri),
            *("--compute", settings.compute.to_text()),
            *("--log-level", settings.log_level),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=settings.child_environment,
            # A group of its own: a cancel kills whatever the child has started, and a Ctrl-C at
            # the terminal reaches the service alone.
            start_new_session=True,
        )

    def _kill_child(self) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    async def _stop_child(self) -> None:
        """Kill the child of a service that stops; the job resumes from its last checkpoint."""
        if self._child is not None:
            self._kill_child()
            await self._child.wait()
            self._child = None

    def _end(self, job: Job, state: JobState, *, keep_work: bool = False) -> Job:
        job = self._change(replace(job, state=state))
        self._cancelled.discard(job.job_id)
        if not keep_work:
            self._store.folder(job.job_id).drop_work()
        metrics.show_end(job)
        log.info("job.ended", job_id=job.job_id, state=state, code=job.error_code, message=job.error_message)
        return job

    def _change(self, job: Job, *, write: bool = True) -> Job:
        """Write a job's new state, then tell its watchers.

        On a full disk the state before stays: what a restarted service makes of that is this state again.
        """
        if write:
            try:
                self._store.write(job)
            except OSError as error:
                if not no_space(error):
                    raise
                log.error("job.state_not_written", job_id=job.job_id, state=job.state, reason=str(error))
        self._jobs[job.job_id] = job
        for changes in self._watchers.get(job.job_id, ()):
            changes.put_nowait(job)
        return job
