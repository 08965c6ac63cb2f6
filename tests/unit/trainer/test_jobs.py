"""The queue of jobs, with shell scripts for children."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.common.rpc.server import Health
from services.trainer.convert import job_to_pb
from services.trainer.jobs import JobRunner
from services.trainer.settings import TrainerSettings
from services.trainer.store import EXIT_NO_SPACE, JobStore, Outcome
from services.trainer.types import Job, JobState, Progress, TrainedAdapter
from tests.unit.trainer.specs import make_spec

ADAPTER = TrainedAdapter("run-i1-00000000", "file:///x/adapters/run-i1-00000000", "0" * 64)
POINT = Progress(1, 2, 0.5, 3.0, 1e-5, 100.0, 1.0)
SUCCEED = f"echo '{json.dumps(asdict(Outcome(adapter=ADAPTER)))}' > outcome.json"
FAIL = f"echo '{json.dumps(asdict(Outcome(error_code='INVALID_INPUT', error_message='no')))}' > outcome.json"
PROGRESS = f"echo '{json.dumps(asdict(POINT))}' >> progress.jsonl"
HANG = "sleep 60"
DIE = "kill -9 $$"


class ScriptedRunner(JobRunner):
    """Its child is a shell script that runs in the job's folder; the last script repeats."""

    def __init__(self, settings: TrainerSettings, *scripts: str) -> None:
        super().__init__(settings)
        self.scripts = list(scripts)
        self.pids: list[int] = []

    async def _spawn(self, job_dir: Path, output: IO[bytes]) -> asyncio.subprocess.Process:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", script, cwd=job_dir, stdout=output, stderr=output, start_new_session=True
        )
        self.pids.append(child.pid)
        return child


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *scripts: str, **settings: Any) -> AsyncIterator[ScriptedRunner]:
    runner = ScriptedRunner(TrainerSettings(state_dir=tmp_path / "state", **settings), *scripts)
    health = Health(["x"])
    task = asyncio.create_task(runner.run(health))
    while not health.serving and not task.done():
        await asyncio.sleep(0.01)
    try:
        if task.done():
            task.result()
        yield runner
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PreconditionError):
            await task
        await runner.wait_closed()


async def ended(runner: JobRunner, job_id: str = "job") -> Job:
    async with asyncio.timeout(20):
        async for job in runner.watch(job_id):
            last = job
    return last


async def until(runner: JobRunner, state: JobState, job_id: str = "job") -> Job:
    async with asyncio.timeout(20):
        async for job in runner.watch(job_id):
            if job.state is state:
                return job
    raise AssertionError(f"never {state}")


async def test_start_of_a_job_that_succeeds_streams_every_change(tmp_path: Path) -> None:
    async with running(tmp_path, f"{PROGRESS}; {PROGRESS}; sleep 0.3; {SUCCEED}") as runner:
        job, attached = runner.start("job", make_spec())
        assert (job.state, attached) == (JobState.QUEUED, False)
        seen = [change async for change in runner.watch("job")]
        assert [s.state for s in (seen[0], seen[-1])] == [JobState.QUEUED, JobState.SUCCEEDED]
        assert sum(s.progress == POINT and s.state is JobState.RUNNING for s in seen) >= 2
        assert seen[-1].adapter == ADAPTER
        assert seen[-1].attempts == 1
        assert seen[-1].duration_s > 0.2
        assert [change async for change in runner.watch("job")] == [seen[-1]]


async def test_start_of_a_known_id_attaches_or_conflicts(tmp_path: Path) -> None:
    async with running(tmp_path, HANG) as runner:
        runner.start("job", make_spec())
        assert runner.start("job", make_spec())[1] is True
        with pytest.raises(ConflictError, match="another spec"):
            runner.start("job", make_spec(seed=2))
        assert len(runner.pids) <= 1


async def test_start_of_a_bad_request_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, HANG) as runner:
        with pytest.raises(InvalidInputError):
            runner.start("../../etc", make_spec())
        with pytest.raises(InvalidInputError):
            runner.start("job", make_spec(epochs=0))
        with pytest.raises(NotFoundError):
            runner.get("job")
        assert not (tmp_path / "state" / "jobs").exists()


async def test_jobs_run_one_at_a_time_in_order(tmp_path: Path) -> None:
    script = f"test ! -e ../busy || exit 1; touch ../busy; sleep 0.2; rm ../busy; {SUCCEED}"
    async with running(tmp_path, script) as runner:
        for i in range(3):
            runner.start(f"job{i}", make_spec(seed=i))
        order = []

        async def follow(job_id: str) -> None:
            await ended(runner, job_id)
            order.append(job_id)

        await asyncio.gather(*(follow(f"job{i}") for i in (2, 0, 1)))
        assert order == ["job0", "job1", "job2"]
        assert [runner.get(f"job{i}").deaths for i in range(3)] == [0, 0, 0]


async def test_start_when_the_queue_is_full_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, HANG, max_queued_jobs=1) as runner:
        runner.start("job0", make_spec())
        await until(runner, JobState.RUNNING, "job0")
        runner.start("job1", make_spec())
        with pytest.raises(OverloadedError, match="1 jobs are waiting"):
            runner.start("job2", make_spec())


async def test_cancel_of_a_running_job_kills_its_whole_group_and_the_next_runs(tmp_path: Path) -> None:
    async with running(tmp_path, "sleep 61 & echo $! > grandchild; sleep 60", SUCCEED) as runner:
        runner.start("job", make_spec())
        runner.start("next", make_spec())
        grandchild = tmp_path / "state" / "jobs" / "job" / "grandchild"
        while not grandchild.exists() or not grandchild.read_text():
            await asyncio.sleep(0.02)
        job = await runner.cancel("job")
        assert job.state is JobState.CANCELLED
        assert (await ended(runner, "next")).state is JobState.SUCCEEDED
        for _ in range(100):
            if not _alive(int(grandchild.read_text())):
                break
            await asyncio.sleep(0.02)
        assert not _alive(int(grandchild.read_text()))


async def test_cancel_of_a_waiting_or_ended_job(tmp_path: Path) -> None:
    async with running(tmp_path, HANG) as runner:
        runner.start("job", make_spec())
        runner.start("waiting", make_spec())
        assert (await runner.cancel("waiting")).state is JobState.CANCELLED
        assert (await runner.cancel("waiting")).state is JobState.CANCELLED
        with pytest.raises(NotFoundError):
            await runner.cancel("unknown")
        assert runner.get("waiting").attempts == 0


async def test_child_error_fails_the_job_once(tmp_path: Path) -> None:
    async with running(tmp_path, FAIL) as runner:
        runner.start("job", make_spec())
        job = await ended(runner)
        assert (job.state, job.error_code, job.error_message) == (JobState.FAILED, "INVALID_INPUT", "no")
        assert job.attempts == 1


async def test_start_with_restart_ended_begins_a_failed_job_anew_and_joins_any_other(tmp_path: Path) -> None:
    stale = "test ! -e outcome.json -a ! -e progress.jsonl || exit 1"
    async with running(tmp_path, f"{PROGRESS}; {FAIL}", f"{stale}; sleep 0.3; {SUCCEED}") as runner:
        runner.start("job", make_spec())
        failed = await ended(runner)
        assert (failed.state, failed.progress) == (JobState.FAILED, POINT)
        assert runner.start("job", make_spec()) == (failed, True)
        with pytest.raises(ConflictError, match="another spec"):
            runner.start("job", make_spec(seed=2), restart_ended=True)
        job, attached = runner.start("job", make_spec(), restart_ended=True)
        assert (job.state, job.error_code, job.progress, attached) == (JobState.QUEUED, "", None, False)
        assert runner.start("job", make_spec(), restart_ended=True)[1] is True
        done = await ended(runner)
        assert (done.state, done.deaths, done.attempts) == (JobState.SUCCEEDED, 0, 1)
        assert runner.start("job", make_spec(), restart_ended=True) == (done, True)


async def test_start_with_restart_ended_begins_a_cancelled_job_anew_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, HANG) as runner:
        runner.start("job", make_spec())
        await until(runner, JobState.RUNNING)
        assert (await runner.cancel("job")).state is JobState.CANCELLED
    async with running(tmp_path, SUCCEED) as runner:
        assert runner.start("job", make_spec(), restart_ended=True)[1] is False
        assert (await ended(runner)).state is JobState.SUCCEEDED


async def test_child_that_dies_without_a_word_is_started_again(tmp_path: Path) -> None:
    async with running(tmp_path, DIE, DIE, SUCCEED) as runner:
        runner.start("job", make_spec())
        job = await ended(runner)
        assert (job.state, job.attempts, job.deaths) == (JobState.SUCCEEDED, 3, 2)


async def test_child_that_always_dies_fails_the_job_after_bounded_restarts(tmp_path: Path) -> None:
    async with running(tmp_path, f"echo secret; {DIE}", max_restarts=3) as runner:
        runner.start("job", make_spec())
        job = await ended(runner)
        assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "INTERNAL", 4)
        assert "died 4 times" in job.error_message
        assert "secret" not in job.error_message


async def test_restart_of_the_service_resumes_running_and_waiting_jobs(tmp_path: Path) -> None:
    async with running(tmp_path, f"{PROGRESS}; {HANG}") as runner:
        runner.start("job", make_spec())
        runner.start("waiting", make_spec())
        while runner.get("job").progress is None:
            await asyncio.sleep(0.02)
        watcher = asyncio.create_task(ended(runner))
        await asyncio.sleep(0.05)
        pid = runner.pids[0]
    with pytest.raises(NotReadyError, match="goes on when it is back"):
        await watcher
    with pytest.raises(NotReadyError):
        runner.get("job")
    assert not _alive(pid)
    async with running(tmp_path, SUCCEED) as runner:
        assert runner.get("job").progress == POINT
        assert (await ended(runner)).attempts == 2
        assert (await ended(runner, "waiting")).attempts == 1
        assert runner.get("job").deaths == 0


async def test_restart_after_a_childs_last_word_concludes_without_a_new_child(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "state")
    store.create(Job("job", make_spec().sha256, 1, JobState.RUNNING, attempts=1), make_spec())
    store.folder("job").write_outcome(Outcome(adapter=ADAPTER))
    async with running(tmp_path, DIE) as runner:
        job = await ended(runner)
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
        assert runner.pids == []


async def test_ended_jobs_are_known_after_a_restart_and_their_checkpoints_are_gone(tmp_path: Path) -> None:
    async with running(tmp_path, f"mkdir checkpoints work; {SUCCEED}") as runner:
        runner.start("job", make_spec())
        before = await ended(runner)
    async with running(tmp_path, DIE) as runner:
        assert runner.get("job") == before
        assert runner.start("job", make_spec()) == (before, True)
    assert sorted(p.name for p in (tmp_path / "state" / "jobs" / "job").iterdir()) == [
        "child.log",
        "origin.json",
        "outcome.json",
        "request.json",
        "status.json",
    ]


async def test_second_service_on_the_same_state_folder_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, HANG):
        with pytest.raises(PreconditionError, match="another trainer uses"):
            async with running(tmp_path, HANG):
                pass


async def test_half_written_progress_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    line = json.dumps(asdict(POINT))
    halves = f"printf '%s' '{line[:20]}' >> progress.jsonl; sleep 0.3; echo '{line[20:]}' >> progress.jsonl"
    script = f"{halves}; {SUCCEED}"
    async with running(tmp_path, script) as runner:
        runner.start("job", make_spec())
        assert (await ended(runner)).progress == POINT


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_child_without_room_for_its_word_fails_not_ready_and_keeps_its_checkpoints(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "mkdir -p checkpoints; exit 74") as runner:
        runner.start("job", make_spec())
        job = await ended(runner)
    assert (job.state, job.error_code, job.deaths) == (JobState.FAILED, "NOT_READY", 0)
    assert "no space left" in job.error_message
    assert (tmp_path / "state" / "jobs" / "job" / "checkpoints").is_dir()


async def test_start_with_restart_ended_after_no_space_goes_on_from_the_checkpoints(tmp_path: Path) -> None:
    full = f"mkdir checkpoints; touch checkpoints/step-5; exit {EXIT_NO_SPACE}"
    kept = f"test -e checkpoints/step-5 || exit 1; {SUCCEED}"
    async with running(tmp_path, full, kept) as runner:
        runner.start("job", make_spec())
        failed = await ended(runner)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "NOT_READY")
        runner.start("job", make_spec(), restart_ended=True)
        done = await ended(runner)
        assert (done.state, done.deaths) == (JobState.SUCCEEDED, 0)
        # The same job: whoever counts what it did and cost goes on counting.
        assert (done.created_ns, done.attempts) == (failed.created_ns, 2)
        assert done.duration_s > failed.duration_s
        assert done.cpu_s >= failed.cpu_s


async def test_start_with_restart_ended_after_a_failure_is_another_life_of_the_job(tmp_path: Path) -> None:
    outcome = json.dumps(asdict(Outcome(error_code="INTERNAL", error_message="out of memory")))
    async with running(tmp_path, f"echo '{outcome}' > outcome.json", SUCCEED) as runner:
        runner.start("job", make_spec())
        failed = await ended(runner)
        assert failed.state is JobState.FAILED
        runner.start("job", make_spec(), restart_ended=True)
        done = await ended(runner)
    assert done.created_ns > failed.created_ns
    assert job_to_pb(done).create_time_ns == done.created_ns


async def test_start_with_restart_ended_trains_again_what_is_gone_from_the_store(tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    made = artifacts.put_folder("adapters/run-i1-{sha8}", tmp_path / "adapter", {})
    adapter = TrainedAdapter(made.uri.rpartition("/")[2], made.uri, made.sha256)
    succeed = f"echo '{json.dumps(asdict(Outcome(adapter=adapter)))}' > outcome.json"
    async with running(tmp_path, succeed, artifacts_uri=str(tmp_path / "artifacts")) as runner:
        runner.start("job", make_spec())
        done = await ended(runner)
        assert runner.start("job", make_spec(), restart_ended=True) == (done, True)
        artifacts.delete(made.uri)
        assert runner.start("job", make_spec()) == (done, True)
        job, attached = runner.start("job", make_spec(), restart_ended=True)
        assert (job.state, attached) == (JobState.QUEUED, False)
        assert (await ended(runner)).state is JobState.SUCCEEDED


async def test_job_whose_cluster_did_not_answer_keeps_its_checkpoints_for_the_next_start(
    tmp_path: Path,
) -> None:
    outcome = json.dumps(asdict(Outcome(error_code="NOT_READY", error_message="no Ray cluster")))
    script = f"mkdir -p checkpoints; echo '{outcome}' > outcome.json"
    async with running(tmp_path, script, SUCCEED) as runner:
        runner.start("job", make_spec())
        assert (await ended(runner)).error_code == "NOT_READY"
        kept = tmp_path / "state" / "jobs" / "job" / "checkpoints"
        assert kept.is_dir()
        runner.start("job", make_spec(), restart_ended=True)
        assert (await ended(runner)).state is JobState.SUCCEEDED
        assert not kept.exists()
