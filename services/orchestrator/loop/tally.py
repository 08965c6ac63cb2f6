"""What a run really used, counted as it comes back: completions, tokens, scores, texts, training steps.

The sums are the run's own, over all its attempts, and stand in the store under ``USED``: what a cut step had
used stays counted. They are written with the completions that they count, and at the end of each step.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from services.orchestrator.loop.clock import Spent

USED = "used"
COUNTS = (
    "completions",
    "prompt_tokens",
    "completion_tokens",
    "scores",
    "scored_tokens",
    "embeddings",
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
        self._jobs: set[str] = set(known.get("jobs", ()))
        self._saved_s = 0.0

    def add(self, **more: float) -> None:
        """Count some more; names are those of ``COUNTS`` and ``SECONDS``."""
        sums = self._stages.setdefault(self.stage, {})
        for name, value in more.items():
            if value:
                sums[name] = sums.get(name, 0) + value

    def add_training(self, job_id: str, steps: int, examples: int, duration_s: float) -> None:
        """Count a job that has ended, once however often the run has joined it."""
        if job_id not in self._jobs:
            self._jobs.add(job_id)
            self.add(training_steps=steps, trained_examples=examples, training_s=duration_s)

    def add_spent(self, wall_s: float, spent: Spent) -> None:
        """Count a step's wall seconds, and the CPU and GPU seconds that its calls told."""
        self.add(
            wall_s=wall_s,
            cpu_s=sum(seconds.get("cpu_s", 0.0) for seconds in spent.values()),
            gpu_s=sum(seconds.get("gpu_s", 0.0) for seconds in spent.values()),
        )

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
        """For the store, and for the report: ``stages``, and the training jobs that are counted."""
        return {
            "stages": {
                stage: {name: round(value, 6) for name, value in sums.items()}
                for stage, sums in self._stages.items()
            },
            "jobs": sorted(self._jobs),
        }
