"""A training job's child process that sleeps instead of training; its files are those of a real one.

Steps go on behind the last checkpoint. The adapter follows from the spec alone, so that a job that was
killed on its way must end with the adapter of one that was not.
"""

import argparse
import fcntl
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from services.common.artifacts import ArtifactStore
from services.common.process import die_with_parent
from services.trainer.artifacts import Canary, publish_adapter
from services.trainer.store import EXIT_NO_SPACE, JobFolder, Outcome, no_space, write_atomic
from services.trainer.types import Progress, TrainedAdapter, TrainingSpec
from tests.fakes.fake_engine import FINGERPRINT, INFO

STEPS = 8


def main() -> int:
    """Run the job that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job_dir", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--artifacts", required=True)
    parser.add_argument("--step-s", type=float, required=True)
    args = parser.parse_args()
    die_with_parent(args.parent)
    folder = JobFolder(args.job_dir)
    with folder.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.read_outcome() is None:
            try:
                _train(folder, args.step_s)
                adapter = _publish(folder, ArtifactStore(args.artifacts))
                folder.write_outcome(Outcome(adapter=adapter))
            except OSError as error:
                if not no_space(error):
                    raise
                return EXIT_NO_SPACE
    return 0


def _train(folder: JobFolder, step_s: float) -> None:
    folder.checkpoints.mkdir(exist_ok=True)
    last = folder.checkpoints / "last.json"
    done = int(json.loads(last.read_text())["step"]) if last.exists() else 0
    with folder.progress.open("a") as curve:
        for step in range(done + 1, STEPS + 1):
            time.sleep(step_s)
            left_s = (STEPS - step) * step_s
            point = Progress(step, STEPS, step / STEPS, 1 / step, 1e-4, 100.0, left_s, 50 * step, "cpu")
            curve.write(json.dumps(asdict(point)) + "\n")
            curve.flush()
            write_atomic(last, {"step": step})


def _publish(folder: JobFolder, store: ArtifactStore) -> TrainedAdapter:
    spec = folder.read_spec()
    work = folder.path / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    save_file(_weights(spec), work / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": spec.lora.rank,
        "lora_alpha": spec.lora.alpha,
        "bias": "none",
        "target_modules": sorted(spec.lora.target_modules),
    }
    (work / "adapter_config.json").write_text(json.dumps(config))
    example = spec.examples[0]
    turns = tuple({"role": turn.role, "content": turn.content} for turn in example.messages)
    tokens = len(example.answer.split())
    canary = Canary(turns, example.answer, -5.0 * tokens, -10.0 * tokens, tokens)
    return publish_adapter(store, work, spec, base_fingerprint=FINGERPRINT, canaries=[canary])


def _weights(spec: TrainingSpec) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(spec.seed)
    found = {}
    for name, (out, width) in INFO.weight_shapes.items():
        module = name.removesuffix(".weight")
        if module.rpartition(".")[2] not in spec.lora.target_modules:
            continue
        for side, shape in (("A", (spec.lora.rank, width)), ("B", (out, spec.lora.rank))):
            tensor = generator.normal(size=shape).astype(np.float32)
            found[f"base_model.model.{module}.lora_{side}.weight"] = tensor
    return found


if __name__ == "__main__":
    raise SystemExit(main())
