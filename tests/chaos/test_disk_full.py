"""Full disks: what waits, what fails, what it says, and that nothing stored is lost."""

import asyncio
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.rpc.client import open_channel
from tests.chaos.campaign.comparing import differences
from tests.chaos.campaign.processes import Service, free_port, serving
from tests.chaos.orchestrators import Orchestrator, orchestrator
from tests.fakes.fake_services import fake_services
from tests.fakes.studies import study_json

pytestmark = pytest.mark.chaos


class Disk:
    """A file system of a few megabytes that can be filled up and cleared."""

    def __init__(self, folder: Path, size: str) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        """Take every byte that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for part in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * part)
                except OSError:
                    continue

    def clear(self) -> None:
        """Give it back."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk", "24m")
    yield disk
    subprocess.run(["umount", "-l", str(disk.folder)], check=True)


def study() -> dict[str, Any]:
    return study_json(principles=6, iterations=1, guards={"general_prompts": None})


def whole(path: Path) -> bool:
    with sqlite3.connect(path) as database:
        found = database.execute("PRAGMA integrity_check").fetchone()[0]
    database.close()
    return bool(found == "ok")


async def ends_after_room(process: Orchestrator, run_id: str) -> dict[str, Any]:
    """The run's success, at a retry if need be; a failure must say what was missing."""
    run = await process.until_ended(run_id)
    if run["status"] == "failed":
        assert run["error"]["code"] in ("NOT_READY", "OVERLOADED"), run
        assert "space" in run["error"]["message"] or "disk" in run["error"]["message"], run
        answer = await process.http.post(f"/v1/runs/{run_id}/retry", json={})
        assert answer.status_code == 200, answer.text
        run = await process.until_ended(run_id)
    assert run["status"] == "succeeded", run
    return run


@pytest.mark.parametrize("stage", ["uncover", "verdict"])
async def test_orchestrator_on_a_full_disk_waits_or_says_so_and_loses_nothing(
    disk: Disk, tmp_path: Path, stage: str
) -> None:
    async with fake_services() as fakes:
        targets = dict.fromkeys(("generator", "embedder", "trainer"), fakes.target)
        fakes.generator.concurrency, fakes.generator.latency_s = 2, 0.1
        log = tmp_path / "orchestrator.log"
        async with orchestrator(disk.folder, targets, log=log) as process:
            run_id = await process.create_run(study())
            await process.until_stage(run_id, stage)
            disk.fill()
            await asyncio.sleep(4)
            disk.clear()
            fakes.generator.latency_s = 0.0
            await ends_after_room(process, run_id)
            again = await process.create_run(study())
            assert (await process.until_ended(again))["status"] == "succeeded"
            assert differences(await process.result(again), await process.result(run_id)) == []
            numbers = [number for number, _ in process.event_kinds(run_id)]
            assert numbers == list(range(1, len(numbers) + 1))
            assert await process.terminate() == 0
    assert whole(disk.folder / "orchestrator.db")
    assert whole(disk.folder / "workflows.db")
    assert "INTERNAL" not in log.read_text()


async def test_trainer_on_a_full_disk_fails_the_job_with_a_clear_error(disk: Disk, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "PORT": str(port),
        "METRICS_PORT": "0",
        "STATE_DIR": str(disk.folder / "state"),
        "ARTIFACTS_URI": str(tmp_path / "artifacts"),
    }
    service = Service(
        "trainer",
        ["tests.fakes.serve_trainer", "0.5"],
        {f"VALIGN_TRAINER_{name}": value for name, value in settings.items()},
        lambda: serving(port),
        tmp_path / "trainer.log",
    )
    service.start()
    try:
        await asyncio.to_thread(service.wait_ready)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub = trainer_pb2_grpc.TrainerServiceStub(channel)
            await stub.StartTraining(request("first"))
            async for answer in stub.WatchTraining(pb.WatchTrainingRequest(job_id="first"), timeout=60):
                if answer.job.progress.step == 1:
                    disk.fill()
            assert answer.job.state == pb.TRAINING_STATE_FAILED
            assert answer.job.error_code == "NOT_READY"
            assert "no space left" in answer.job.error_message
            disk.clear()
            await stub.StartTraining(request("second"))
            async for answer in stub.WatchTraining(pb.WatchTrainingRequest(job_id="second"), timeout=60):
                last = answer.job
            assert last.state == pb.TRAINING_STATE_SUCCEEDED
        # What was not written down of the failure: a restarted trainer goes on behind the last checkpoint.
        service.kill()
        service.start()
        await asyncio.to_thread(service.wait_ready)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub = trainer_pb2_grpc.TrainerServiceStub(channel)
            async for answer in stub.WatchTraining(pb.WatchTrainingRequest(job_id="first"), timeout=60):
                last = answer.job
            assert last.state in (pb.TRAINING_STATE_SUCCEEDED, pb.TRAINING_STATE_FAILED)
    finally:
        service.stop()


def request(job_id: str) -> pb.StartTrainingRequest:
    example = pb.Example(messages=[pb.Message(role="user", content="P3")], answer="Be kind.", group="a")
    spec = pb.TrainingSpec(
        base_model="fake/model",
        examples=[example],
        group_weights={"a": 1.0},
        lora=pb.LoraSpec(rank=8, alpha=16, target_modules=["q_proj", "v_proj"]),
        epochs=1,
        batch_size=1,
        learning_rate=1e-3,
        adam_beta1=0.9,
        adam_beta2=0.999,
        lr_schedule="cosine",
        max_length=64,
        dtype="float32",
        adapter_name_prefix=f"{job_id}-i1",
        canaries=1,
        checkpoint_every_steps=1,
    )
    return pb.StartTrainingRequest(job_id=job_id, spec=spec)
