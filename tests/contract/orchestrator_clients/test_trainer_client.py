"""The orchestrator's trainer client against a servicer of the contract, over real gRPC."""

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.rpc.client import open_channel
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.trainer import GrpcTrainer, job_id_of
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, TrainingExample, TrainingRequest
from services.orchestrator.study_sections import LoraSettings, TrainingSettings
from tests.fakes.fake_services import FakeServices, fake_services


@pytest.fixture
async def fakes() -> AsyncIterator[FakeServices]:
    async with fake_services() as services:
        yield services


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


@pytest.fixture
async def client(fakes: FakeServices, artifacts: ArtifactStore) -> AsyncIterator[GrpcTrainer]:
    async with open_channel(fakes.target) as channel:
        yield GrpcTrainer(channel, artifacts, Patience(wait_s=3.0, call_s=3.0))


def request(examples: int = 2, characters: int = 10, **changes: object) -> TrainingRequest:
    base = TrainingRequest(
        base_model="m",
        base_revision="",
        base_fingerprint="f" * 64,
        examples=tuple(
            TrainingExample(
                Prompt((Message("user", "说真话 " + "x" * characters),), "You"), f"答 {number}", "t"
            )
            for number in range(examples)
        ),
        group_weights={"t": 1.0},
        lora=LoraSettings().model_dump(mode="json"),
        training=TrainingSettings().model_dump(mode="json"),
        seed=3,
        adapter_name_prefix="r-1-i1",
    )
    return dataclasses.replace(base, **changes)


def test_job_id_same_request_same_id_and_any_change_another() -> None:
    assert job_id_of(request()) == job_id_of(request())
    assert job_id_of(request(seed=4)) != job_id_of(request())
    assert job_id_of(request(init_adapter=AdapterRef("a", "1", "u"))) != job_id_of(request())


async def test_start_again_attaches_to_the_same_job(client: GrpcTrainer, fakes: FakeServices) -> None:
    assert await client.start(request()) == await client.start(request())
    assert (fakes.trainer.starts, fakes.trainer.attached) == (2, 1)


async def test_start_spec_carries_every_setting(client: GrpcTrainer, fakes: FakeServices) -> None:
    init = AdapterRef("a", "1" * 64, "file:///a")
    spec = fakes.trainer.jobs[await client.start(request(init_adapter=init))].spec
    assert spec.lora.rank == 16
    assert list(spec.lora.target_modules) == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (spec.epochs, spec.batch_size, spec.learning_rate) == (5, 4, 1e-5)
    assert (spec.adam_beta1, spec.adam_beta2, spec.lr_schedule, spec.dtype) == (
        0.9,
        0.999,
        "cosine",
        "bfloat16",
    )
    assert (spec.max_grad_norm, spec.max_length, spec.canaries, spec.checkpoint_every_steps) == (
        1.0,
        1024,
        4,
        25,
    )
    assert (spec.init_adapter_uri, spec.init_adapter_sha256) == ("file:///a", "1" * 64)
    assert dict(spec.group_weights) == {"t": 1.0}
    assert spec.examples[1].answer == "答 1"
    assert spec.examples[1].messages[0].content.startswith("说真话")


async def test_start_many_examples_travel_through_the_store(
    client: GrpcTrainer, fakes: FakeServices, artifacts: ArtifactStore
) -> None:
    spec = fakes.trainer.jobs[await client.start(request(examples=100, characters=20_000))].spec
    assert not spec.examples
    data = artifacts.get_bytes(spec.examples_uri, spec.examples_sha256)
    assert hashlib.sha256(data).hexdigest() == spec.examples_sha256
    lines = [json.loads(line) for line in data.splitlines()]
    assert len(lines) == 100
    assert lines[7]["answer"] == "答 7"


async def test_watch_job_ends_with_its_adapter(client: GrpcTrainer) -> None:
    states = [status async for status in client.watch(await client.start(request()))]
    assert states[-1].state == "succeeded"
    assert states[-1].adapter is not None
    assert states[-1].adapter.name.startswith("r-1-i1-")
    assert states[-1].loss == 0.25


async def test_cancel_job_ends_cancelled_and_unknown_is_no_error(
    client: GrpcTrainer, fakes: FakeServices
) -> None:
    fakes.trainer.step_s, fakes.trainer.costs = 30, (2.0, 60.0)
    job_id = await client.start(request())
    told = await client.cancel(job_id)
    assert told is not None
    assert (told.job_id, told.state, told.cpu_s, told.gpu_s) == (job_id, "cancelled", 2.0, 60.0)
    assert told.create_time_ns > 0
    assert [status.state async for status in client.watch(job_id)] == ["cancelled"]
    assert await client.cancel("0" * 64) is None
