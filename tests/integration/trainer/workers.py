"""Jobs whose real process starts real workers, and what became of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from services.common.artifacts import ArtifactStore
from services.trainer.compute import Compute
from services.trainer.lora.train import run_job
from services.trainer.settings import TrainerSettings
from services.trainer.store import JobFolder, Outcome
from services.trainer.types import TrainedAdapter, TrainingSpec

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-4
"""Largest difference of a weight, where weights are of the order of 0.1: sums are taken in another order."""

BF16_TOLERANCE = 3e-2
"""The same in bf16, whose numbers have three digits: 1e-2 was measured. Without dropout the adapter is 1e-1
away, without the topics' weights more."""


class Bench:
    """One store; each job has a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ArtifactStore(str(root / "store"))
        self.runs: list[Run] = []

    def close(self) -> None:
        """End what a test that failed has left behind."""
        for run in self.runs:
            run.kill()

    def alone(self, spec: TrainingSpec) -> dict[str, Tensor]:
        """The adapter of a single process, this one."""
        folder = self.root / f"alone-{spec.dtype}"
        folder.mkdir()
        adapter = run_job(
            spec,
            work=folder / "w",
            checkpoints=folder / "c",
            store=self.store,
            report=lambda _: None,
            threads=1,
        )
        return self.weights(adapter)

    def weights(self, adapter: TrainedAdapter) -> dict[str, Tensor]:
        folder = self.root / "fetched" / adapter.name
        self.store.fetch_folder(adapter.uri, adapter.sha256, folder)
        return load_file(folder / "adapter_model.safetensors")

    def start(self, name: str, spec: TrainingSpec, compute: Compute) -> "Run":
        folder = JobFolder(self.root / name)
        folder.path.mkdir()
        (folder.path / "request.json").write_text(json.dumps(asdict(spec)))
        self.runs.append(Run(folder, str(self.root / "store"), compute))
        return self.runs[-1]


class Run:
    """The process of a job, as the service starts it."""

    def __init__(self, folder: JobFolder, artifacts: str, compute: Compute) -> None:
        self.folder = folder
        with folder.log.open("ab") as output:
            self.child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "services.trainer.lora", str(folder.path)),
                    *("--parent", str(os.getpid())),
                    *("--artifacts", artifacts),
                    *("--compute", compute.to_text()),
                ],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=TrainerSettings(backend="ray", ray_address=compute.ray_address).child_environment,
            )

    def until_step(self, step: int) -> None:
        deadline = time.monotonic() + 90
        while not any(point.step >= step for point in self.curve()):
            assert self.child.poll() is None, self.folder.log_tail()
            assert time.monotonic() < deadline, self.folder.log_tail()
            time.sleep(0.05)

    def curve(self) -> list[Any]:
        return self.folder.read_progress(0)[0]

    def outcome(self) -> Outcome:
        code = self.child.wait(timeout=120)
        outcome = self.folder.read_outcome()
        assert outcome is not None, f"exit status {code}: {self.folder.log_tail()}"
        return outcome

    def adapter(self) -> TrainedAdapter:
        outcome = self.outcome()
        assert outcome.adapter is not None, f"{outcome}: {self.folder.log_tail(20000)}"
        return outcome.adapter

    def kill(self) -> None:
        """As the service does when a job is cancelled."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(timeout=10)


def pids_with(text: str) -> list[int]:
    """Processes whose command line has a text in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text in path.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(path.parent.name))
    return found


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of a weight."""
    assert sorted(one) == sorted(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)
