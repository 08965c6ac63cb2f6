"""A trainer servicer that trains nothing: jobs take ``steps`` steps of ``step_s`` seconds."""

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.common import usage
from services.common.artifacts import ArtifactStore
from services.common.errors import ConflictError, NotFoundError
from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc as pb_grpc


@dataclass
class Job:
    """One job and its request."""

    spec: pb.TrainingSpec
    state: pb.TrainingJob
    task: asyncio.Task[None] | None = None


@dataclass
class FakeTrainer(pb_grpc.TrainerServiceServicer):
    """Knobs are plain fields; ``starts`` counts calls, ``attached`` those that found their job, ``restarted``
    those that began one anew."""

    steps: int = 4
    step_s: float = 0.0
    device: tuple[str, str, int] = ("cpu", "", 1)
    """Kind, the driver's name, and how many workers."""
    costs: tuple[float, float] = (0.0, 0.0)
    """CPU and GPU seconds of a job, once it has ended."""
    fail_with: tuple[str, str] | None = None
    fail_arm: str = ""
    """Only jobs with this in their adapter's name fail."""
    starts: int = 0
    attached: int = 0
    restarted: int = 0
    artifacts: ArtifactStore | None = None
    """Where a folder is published for each adapter; without it an adapter is a name alone."""
    jobs: dict[str, Job] = field(default_factory=dict)

    async def StartTraining(self, request: pb.StartTrainingRequest, context: Any) -> Any:
        self.starts += 1
        job = self.jobs.get(request.job_id)
        if job is not None:
            if job.spec != request.spec:
                raise ConflictError(f"job {request.job_id} is known with other content")
            ended = job.state.state in (pb.TRAINING_STATE_FAILED, pb.TRAINING_STATE_CANCELLED)
            if not (request.restart_ended and ended):
                self.attached += 1
                return pb.StartTrainingResponse(job=job.state, attached=True)
            self.restarted += 1
        state = pb.TrainingJob(
            job_id=request.job_id, state=pb.TRAINING_STATE_RUNNING, create_time_ns=time.time_ns()
        )
        job = self.jobs[request.job_id] = Job(request.spec, state)
        job.task = asyncio.create_task(self._train(job))
        return pb.StartTrainingResponse(job=state)

    async def WatchTraining(self, request: pb.WatchTrainingRequest, context: Any) -> AsyncIterator[Any]:
        job = self._job(request.job_id)
        while job.state.state == pb.TRAINING_STATE_RUNNING:
            yield pb.WatchTrainingResponse(job=job.state)
            await asyncio.sleep(max(0.005, self.step_s / 2))
        yield pb.WatchTrainingResponse(job=job.state)
        usage.account().add(job.state.cpu_s, job.state.gpu_s)

    async def GetTraining(self, request: pb.GetTrainingRequest, context: Any) -> pb.GetTrainingResponse:
        return pb.GetTrainingResponse(job=self._job(request.job_id).state)

    async def CancelTraining(self, request: pb.CancelTrainingRequest, context: Any) -> Any:
        job = self._job(request.job_id)
        if job.state.state == pb.TRAINING_STATE_RUNNING:
            job.state.state = pb.TRAINING_STATE_CANCELLED
            self._bill(job)
            if job.task is not None:
                job.task.cancel()
        return pb.CancelTrainingResponse(job=job.state)

    async def _train(self, job: Job) -> None:
        for step in range(1, self.steps + 1):
            await asyncio.sleep(self.step_s)
            job.state.progress.CopyFrom(
                pb.Progress(
                    step=step,
                    total_steps=self.steps,
                    epoch=step / self.steps,
                    loss=1 / step,
                    learning_rate=1e-5,
                    tokens_per_s=100.0,
                    device=self.device[0],
                    device_name=self.device[1],
                    workers=self.device[2],
                )
            )
        job.state.duration_s = self.steps * self.step_s
        self._bill(job)
        if self.fail_with and self.fail_arm in job.spec.adapter_name_prefix:
            job.state.error_code, job.state.error_message = self.fail_with
            job.state.state = pb.TRAINING_STATE_FAILED
            return
        sha256 = hashlib.sha256(job.state.job_id.encode()).hexdigest()
        name = f"{job.spec.adapter_name_prefix}-{sha256[:8]}"
        adapter = pb.TrainedAdapter(name=name, uri=f"file:///adapters/{name}", sha256=sha256)
        if self.artifacts is not None:
            adapter = _published(self.artifacts, job.spec.adapter_name_prefix, sha256)
        job.state.adapter.CopyFrom(adapter)
        job.state.state = pb.TRAINING_STATE_SUCCEEDED

    def _bill(self, job: Job) -> None:
        job.state.cpu_s, job.state.gpu_s = self.costs

    def _job(self, job_id: str) -> Job:
        try:
            return self.jobs[job_id]
        except KeyError:
            raise NotFoundError(f"no job {job_id}") from None


def _published(artifacts: ArtifactStore, prefix: str, content: str) -> pb.TrainedAdapter:
    """A folder in the store, of the shape of an adapter's and with no weights in it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapter_config.json").write_text(json.dumps({"content": content}))
        made = artifacts.put_folder(f"adapters/{prefix}-{{sha8}}", Path(folder), {"format": "fake"})
    return pb.TrainedAdapter(name=made.uri.rpartition("/")[2], uri=made.uri, sha256=made.sha256)
