"""What a run really used, counted as it comes back: completions, tokens, scores, texts, training steps.

The sums are the run's own, over all its attempts, and stand in the store under ``USED``: what a cut step had
used stays counted. They are written with the completions that they count, while a job trains, and at the end
of each step.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from services.common.usage import Usage
from services.orchestrator.ports import TrainingStatus

USED = "used"
COUNTS = (
    "completions",
    "prompt_tokens",
    "completion_tokens",
    "scores",
    "scored_tokens",
    "embeddings",
    "embeddings_cached",
    "training_steps",
    "trained_examples",
)
SECONDS = ("generation_s", "scoring_s", "embedding_s", "training_s", "wall_s", "cpu_s", "gpu_s")
_SAVE_S = 1.0


class Tally:
    """Sums by stage. Belongs to one event loop; ``stage`` is the one that what comes now belongs to."""

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        """``stored`` is what ``as_json`` gave before."""
        known = stored or {}
        self.stage = ""
        self._stages: dict[str, dict[str, float]] = {
            stage: dict(sums) for stage, sums in known.get("stages", {}).items()
        }
        # By job id how far it is counted; None: whole, as earlier versions have listed those that succeeded.
        jobs = known.get("jobs", {})
        self._jobs: dict[str, dict[str, Any] | None] = (
            {job_id: None if job is None else dict(job) for job_id, job in jobs.items()}
            if isinstance(jobs, Mapping)
            else dict.fromkeys(jobs)
        )
        self._saved_s = 0.0

    def add(self, **more: float) -> None:
        """Count some more; names are those of ``COUNTS`` and ``SECONDS``."""
        sums = self._stages.setdefault(self.stage, {})
        for name, value in more.items():
            if value:
                sums[name] = sums.get(name, 0) + value

    def follow_training(self, status: TrainingStatus, examples: int | None = None) -> Usage:
        """Count a job as far as it has come, each part of it once however often the run joins it. Returns the
        CPU and GPU seconds that are new.

        Whether a job was begun anew, and counts again, is the trainer's word: it has another time of
        creation. One that goes back to its last checkpoint counts what it does again. ``examples`` None:
        not known.
        """
        before = self._jobs.get(status.job_id, {})
        if before is None:
            return Usage()
        # Earlier versions have noted no time.
        anew = before.get("create_time_ns", status.create_time_ns) != status.create_time_ns
        known = {} if anew else before
        now = {
            "step": status.step,
            "examples": known.get("examples", 0) if examples is None else examples,
            "duration_s": status.duration_s,
            "cpu_s": status.cpu_s,
            "gpu_s": status.gpu_s,
        }
        more = {name: max(0, value - known.get(name, 0)) for name, value in now.items()}
        self.add(
            training_steps=more["step"],
            trained_examples=more["examples"],
            training_s=more["duration_s"],
            cpu_s=more["cpu_s"],
            gpu_s=more["gpu_s"],
        )
        self._jobs[status.job_id] = {"create_time_ns": status.create_time_ns, **now}
        return Usage(more["cpu_s"], more["gpu_s"])

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the block's wall seconds under a name of ``SECONDS``."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(**{name: time.monotonic() - began})

    def due(self) -> bool:
        """True if it was not written within the last second: a batch of completions is written more often."""
        now = time.monotonic()
        if now - self._saved_s < _SAVE_S:
            return False
        self._saved_s = now
        return True

    def of(self, stage: str) -> dict[str, float]:
        """Sums of one stage."""
        return dict(self._stages.get(stage, {}))

    def total(self) -> dict[str, float]:
        """Sums over the run; every name is there."""
        names = (*COUNTS, *SECONDS)
        return {name: sum(sums.get(name, 0) for sums in self._stages.values()) for name in names}

    def as_json(self) -> dict[str, Any]:
        """For the store, and for the report: ``stages``, and how far each training job is counted."""
        return {
            "stages": {
                stage: {name: round(value, 6) for name, value in sums.items()}
                for stage, sums in self._stages.items()
            },
            "jobs": {job_id: None if job is None else dict(job) for job_id, job in self._jobs.items()},
        }
