"""The trainer as a process: kills of the child and of the service, and what comes after."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.rpc.client import open_channel, wait_until_serving
from tests.tiny_models import make_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
ROOT = Path(__file__).resolve().parents[3]


class Service:
    """One trainer process on a state folder that outlives it."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.target = f"127.0.0.1:{probe.getsockname()[1]}"
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        env = {
            **os.environ,
            "VALIGN_TRAINER_PORT": self.target.rpartition(":")[2],
            "VALIGN_TRAINER_METRICS_PORT": "0",
            "VALIGN_TRAINER_STATE_DIR": str(self.root / "state"),
            "VALIGN_TRAINER_ARTIFACTS_URI": str(self.root / "store"),
            "VALIGN_TRAINER_THREADS": "1",
            "VALIGN_TRAINER_DEVICE": "cpu",
        }
        with (self.root / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.trainer"], cwd=ROOT, env=env, stderr=log, stdout=log
            )
        await wait_until_serving(self.target, timeout_s=60)

    def stop(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def child(self) -> int | None:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.stop(signal.SIGKILL)


def make_request(base: Path, job_id: str) -> pb.StartTrainingRequest:
    examples = [
        pb.Example(
            messages=[pb.Message(role="user", content=f"State principle {i}.")],
            answer=f"Rest {i}.",
            group="a",
        )
        for i in range(8)
    ]
    spec = pb.TrainingSpec(
        base_model=str(base),
        examples=examples,
        group_weights={"a": 1.0},
        lora=pb.LoraSpec(rank=8, alpha=16, dropout=0.05, target_modules=["q_proj", "v_proj"]),
        epochs=150,
        batch_size=4,
        learning_rate=1e-3,
        adam_beta1=0.9,
        adam_beta2=0.999,
        lr_schedule="cosine",
        max_length=512,
        dtype="float32",
        adapter_name_prefix="run-i1",
        canaries=1,
        checkpoint_every_steps=10,
    )
    return pb.StartTrainingRequest(job_id=job_id, spec=spec)


async def until_step(stub: trainer_pb2_grpc.TrainerServiceStub, job_id: str, step: int) -> None:
    async with asyncio.timeout(90):
        async for answer in stub.WatchTraining(pb.WatchTrainingRequest(job_id=job_id)):
            assert answer.job.state in (pb.TRAINING_STATE_QUEUED, pb.TRAINING_STATE_RUNNING)
            if answer.job.progress.step >= step:
                return


async def ended(stub: trainer_pb2_grpc.TrainerServiceStub, job_id: str) -> tuple[pb.TrainingJob, list[int]]:
    """The ended job, and the steps that were seen on the way."""
    steps: list[int] = []
    async for answer in stub.WatchTraining(pb.WatchTrainingRequest(job_id=job_id), timeout=120):
        if answer.job.HasField("progress"):
            steps.append(answer.job.progress.step)
    return answer.job, steps


async def test_kills_of_child_and_service_resume_to_the_undisturbed_adapter(
    service: Service, tmp_path: Path
) -> None:
    base = make_tiny_model("llama", tmp_path / "base")
    await service.start()
    async with open_channel(service.target) as channel:
        stub = trainer_pb2_grpc.TrainerServiceStub(channel)

        # The child is killed: the service starts it again, from its last checkpoint.
        await stub.StartTraining(make_request(base, "killed"), timeout=10)
        await until_step(stub, "killed", 25)
        child = service.child()
        assert child is not None
        os.kill(child, signal.SIGKILL)
        await until_step(stub, "killed", 60)

        # The service is killed: its child dies with it; a new service goes on by itself.
        child = service.child()
        assert child is not None
        service.stop(signal.SIGKILL)
        async with asyncio.timeout(5):
            while Path(f"/proc/{child}").exists() and "Z" not in _state(child):
                await asyncio.sleep(0.02)
        await service.start()
        job, steps = await ended(stub, "killed")
        assert job.state == pb.TRAINING_STATE_SUCCEEDED
        assert job.attempts == 3
        # Steps before the last checkpoint were not done again.
        assert min(steps) > 50
        assert steps[-1] == 300

        await stub.StartTraining(make_request(base, "undisturbed"), timeout=10)
        undisturbed, _ = await ended(stub, "undisturbed")
        assert undisturbed.attempts == 1
        assert undisturbed.adapter == job.adapter


async def test_sigterm_in_the_middle_of_a_job_ends_at_once_and_the_job_resumes(
    service: Service, tmp_path: Path
) -> None:
    base = make_tiny_model("llama", tmp_path / "base")
    await service.start()
    async with open_channel(service.target) as channel:
        stub = trainer_pb2_grpc.TrainerServiceStub(channel)
        await stub.StartTraining(make_request(base, "job"), timeout=10)
        await until_step(stub, "job", 15)
        assert service.stop(signal.SIGTERM) == 0
        await service.start()
        job, steps = await ended(stub, "job")
        assert (job.state, job.attempts) == (pb.TRAINING_STATE_SUCCEEDED, 2)
        assert min(steps) >= 10


def test_misspelt_setting_is_refused_at_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.trainer"],
        cwd=ROOT,
        env={**os.environ, "VALIGN_TRAINER_STATE_DIRR": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "VALIGN_TRAINER_STATE_DIRR: no such setting" in done.stderr


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
