"""TrainerService over a real gRPC server, with a real training process on a tiny model."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.lifecycle import start_server
from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.rpc.client import as_valign_error, open_channel
from services.common.rpc.server import Health
from services.trainer.jobs import JobRunner
from services.trainer.servicer import SERVICE_NAME, TrainerServicer
from services.trainer.settings import TrainerSettings
from tests.tiny_models import make_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[trainer_pb2_grpc.TrainerServiceStub]:
    settings = TrainerSettings(
        port=0,
        metrics_port=0,
        state_dir=tmp_path / "state",
        artifacts_uri=str(tmp_path / "store"),
        threads=1,
        device="cpu",
    )
    runner = JobRunner(settings)
    health = Health([SERVICE_NAME])
    server, port = await start_server(
        settings,
        service_names=[SERVICE_NAME],
        register=lambda s: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(TrainerServicer(runner), s),
        health=health,
    )
    loop = asyncio.create_task(runner.run(health))
    while not health.serving:
        await asyncio.sleep(0.01)
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield trainer_pb2_grpc.TrainerServiceStub(channel)
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    await server.stop(None)


def make_request(base: Path, job_id: str = "job", **changes: Any) -> pb.StartTrainingRequest:
    examples = [
        pb.Example(
            messages=[pb.Message(role="user", content=f"State principle {i}.")],
            answer=f"You shall not take item {i}.",
            group="ab"[i % 2],
        )
        for i in range(8)
    ]
    values: dict[str, Any] = {
        "base_model": str(base),
        "examples": examples,
        "group_weights": {"a": 1.0, "b": 0.5},
        "lora": pb.LoraSpec(rank=8, alpha=16, dropout=0.05, target_modules=["q_proj", "v_proj"]),
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "lr_schedule": "cosine",
        "max_grad_norm": 1.0,
        "max_length": 512,
        "dtype": "float32",
        "adapter_name_prefix": "run-i1",
        "canaries": 2,
        "checkpoint_every_steps": 2,
        "seed": 2**64 - 1,
    }
    return pb.StartTrainingRequest(job_id=job_id, spec=pb.TrainingSpec(**{**values, **changes}))


async def watch(stub: trainer_pb2_grpc.TrainerServiceStub, job_id: str = "job") -> list[pb.TrainingJob]:
    return [r.job async for r in stub.WatchTraining(pb.WatchTrainingRequest(job_id=job_id), timeout=120)]


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), as_valign_error(caught.value).code.value


async def test_start_watch_get_of_a_job_give_one_adapter_to_all(
    stub: trainer_pb2_grpc.TrainerServiceStub, base: Path
) -> None:
    started = await stub.StartTraining(make_request(base), timeout=10)
    assert not started.attached
    again = await stub.StartTraining(make_request(base), timeout=10)
    assert again.attached
    first, second = await asyncio.gather(watch(stub), watch(stub))
    assert first[-1] == second[-1]
    job = first[-1]
    assert (job.state, job.error_message) == (pb.TRAINING_STATE_SUCCEEDED, "")
    assert (job.progress.device, job.progress.device_name, job.progress.workers) == ("cpu", "", 1)
    assert [j.progress.step for j in first if j.HasField("progress")][-1] == 6
    assert job.progress.total_steps == 6
    assert job.progress.epoch == 3.0
    assert job.progress.tokens_per_s > 0
    assert job.adapter.name == f"run-i1-{job.adapter.sha256[:8]}"
    assert (job.attempts, job.duration_s > 0) == (1, True)
    got = await stub.GetTraining(pb.GetTrainingRequest(job_id="job"), timeout=10)
    assert got.job == job
    cancelled = await stub.CancelTraining(pb.CancelTrainingRequest(job_id="job"), timeout=10)
    assert cancelled.job == job


async def test_same_id_with_other_content_is_already_exists(
    stub: trainer_pb2_grpc.TrainerServiceStub, base: Path
) -> None:
    await stub.StartTraining(make_request(base), timeout=10)
    code = await code_of(stub.StartTraining(make_request(base, epochs=4), timeout=10))
    assert code == (grpc.StatusCode.ALREADY_EXISTS, "CONFLICT")


async def test_calls_with_an_unknown_id_are_not_found(stub: trainer_pb2_grpc.TrainerServiceStub) -> None:
    expected = (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert await code_of(stub.GetTraining(pb.GetTrainingRequest(job_id="x"), timeout=10)) == expected
    assert await code_of(stub.CancelTraining(pb.CancelTrainingRequest(job_id="x"), timeout=10)) == expected
    assert await code_of(watch(stub, "x")) == expected


async def test_bad_specs_are_invalid_argument(stub: trainer_pb2_grpc.TrainerServiceStub, base: Path) -> None:
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert await code_of(stub.StartTraining(make_request(base, "../x"), timeout=10)) == expected
    assert await code_of(stub.StartTraining(make_request(base, epochs=0), timeout=10)) == expected
    assert await code_of(stub.StartTraining(pb.StartTrainingRequest(job_id="x"), timeout=10)) == expected


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"learning_rate": 1e30}, "INVALID_INPUT", "training diverged"),
        ({"base_fingerprint": "0" * 64}, "PRECONDITION", "fingerprint"),
        ({"max_length": 20}, "INVALID_INPUT", "example 0 (group 'a')"),
        (
            {"lora": pb.LoraSpec(rank=8, alpha=16, target_modules=["c_attn"])},
            "INVALID_INPUT",
            "has down_proj",
        ),
    ],
)
async def test_job_that_cannot_be_trained_fails_with_a_code_and_a_reason(
    stub: trainer_pb2_grpc.TrainerServiceStub, base: Path, changes: dict[str, Any], code: str, message: str
) -> None:
    await stub.StartTraining(make_request(base, **changes), timeout=10)
    job = (await watch(stub))[-1]
    assert (job.state, job.error_code) == (pb.TRAINING_STATE_FAILED, code)
    assert message in job.error_message
    assert not job.HasField("adapter")
    assert job.attempts == 1


async def test_cancel_of_a_running_job_ends_its_watchers(
    stub: trainer_pb2_grpc.TrainerServiceStub, base: Path
) -> None:
    await stub.StartTraining(make_request(base, epochs=20_000), timeout=10)
    await stub.StartTraining(make_request(base, "next", epochs=20_000), timeout=10)
    watching = asyncio.create_task(watch(stub))
    while not (await stub.GetTraining(pb.GetTrainingRequest(job_id="job"), timeout=10)).job.progress.step:
        await asyncio.sleep(0.05)
    answer = await stub.CancelTraining(pb.CancelTrainingRequest(job_id="job"), timeout=10)
    assert answer.job.state == pb.TRAINING_STATE_CANCELLED
    assert (await watching)[-1].state == pb.TRAINING_STATE_CANCELLED
    waiting = await stub.CancelTraining(pb.CancelTrainingRequest(job_id="next"), timeout=10)
    assert waiting.job.state == pb.TRAINING_STATE_CANCELLED
