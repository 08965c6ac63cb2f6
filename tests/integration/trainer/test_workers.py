"""Several workers give the adapter of one, and losing one changes nothing. Ray and torchrun are real."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from services.common.errors import ErrorCode
from services.trainer.compute import Compute
from services.trainer.settings import TrainerSettings
from services.trainer.types import TrainingSpec
from tests.integration.trainer.workers import BF16_TOLERANCE, TOLERANCE, Bench, apart, pids_with
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_examples, make_spec

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.alone]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def spec(bench: Bench) -> TrainingSpec:
    """Unbalanced topics, dropout, and a last batch of one example: one of two workers has nothing in it."""
    base = make_tiny_model("llama", bench.root / "base")
    return make_spec(base, examples=make_examples(9), group_weights={"a": 1.0, "b": 0.1}, epochs=20)


@pytest.fixture(scope="module")
def alone(bench: Bench, spec: TrainingSpec) -> dict[str, Tensor]:
    """What one process makes of it."""
    return bench.alone(spec)


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """One Ray cluster on this machine, without dashboard and reports of usage; it wants a token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        with _ray_head() as address:
            yield address


@contextlib.contextmanager
def _ray_head() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # The names of its sockets have few characters.
    home = Path(tempfile.mkdtemp(prefix="vray"))
    ray = Path(sys.executable).with_name("ray")
    with (home / "log").open("wb") as log:
        head = subprocess.Popen(
            [
                *(str(ray), "start", "--head", "--block", f"--port={address.rpartition(':')[2]}"),
                *("--num-cpus=2", "--include-dashboard=false"),
                *(f"--temp-dir={home}", "--object-store-memory=100000000", "--disable-usage-stats"),
            ],
            env=TrainerSettings(backend="ray", ray_address=address).child_environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 40
        while "--block" not in (home / "log").read_text():
            assert head.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        try:
            yield address
        finally:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait(timeout=20)
            for pid in pids_with(str(home)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(home, ignore_errors=True)


def test_ray_with_two_workers_gives_the_adapter_of_one_process(
    bench: Bench, spec: TrainingSpec, alone: dict[str, Tensor], ray_address: str
) -> None:
    compute = Compute("ray", 2, 2, "ddp", ray_address, "cpu", 1, packing=True)
    run = bench.start("ddp", spec, compute)
    assert apart(alone, bench.weights(run.adapter())) < TOLERANCE
    assert {point.workers for point in run.curve()} == {2}
    assert [point.step for point in run.curve()] == list(range(1, 61))


def test_ray_that_loses_a_worker_gives_the_same_adapter_with_fsdp2(
    bench: Bench, spec: TrainingSpec, alone: dict[str, Tensor], ray_address: str
) -> None:
    before = set(pids_with("RayTrainWorker"))
    run = bench.start("lost", spec, Compute("ray", 2, 1, "fsdp2", ray_address, "cpu", 1))
    run.until_step(5)
    workers = sorted(set(pids_with("RayTrainWorker")) - before)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert apart(alone, bench.weights(run.adapter())) < TOLERANCE
    steps = [point.step for point in run.curve()]
    # It went on at a checkpoint: some steps twice, the first ones once.
    assert len(steps) > 60
    assert steps.count(1) == 1
    assert steps[-1] == 60


def test_torchrun_that_loses_a_worker_gives_the_same_adapter_in_bf16(
    bench: Bench, spec: TrainingSpec
) -> None:
    spec = replace(spec, dtype="bfloat16")
    compute = Compute("torchrun", 2, sharding="fsdp2", device="cpu", threads=1)
    run = bench.start("torchrun", spec, replace(compute, packing=True, gradient_checkpointing=True))
    run.until_step(5)
    workers = [pid for pid in _children(run.child.pid) if _loads_torch(pid)]
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    assert apart(bench.alone(spec), bench.weights(run.adapter())) < BF16_TOLERANCE
    assert [point.step for point in run.curve()].count(1) == 1


def test_job_that_is_cancelled_takes_its_own_ray_cluster_and_workers_with_it(
    bench: Bench, spec: TrainingSpec
) -> None:
    run = bench.start("cancelled", spec, Compute("ray", 2, 2, device="cpu", threads=1))
    run.until_step(1)
    started = _descendants(run.child.pid)
    assert len(started) > 3
    run.kill()
    deadline = time.monotonic() + 20
    while left := [pid for pid in started if _lives(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_ray_that_does_not_answer_is_named_and_may_be_tried_again(bench: Bench, spec: TrainingSpec) -> None:
    run = bench.start("nobody", spec, Compute("ray", 2, 2, "ddp", "127.0.0.1:9", "cpu", 1))
    outcome = run.outcome()
    assert outcome.error_code == ErrorCode.NOT_READY
    assert "no Ray cluster at 127.0.0.1:9" in outcome.error_message


def _loads_torch(pid: int) -> bool:
    try:
        return "libtorch_cpu" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").glob("*/children") for p in task.read_text().split()]


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
