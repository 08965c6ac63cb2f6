"""Where a run's time goes: wall time of each step, and of it the time in other services."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

EXTERNAL = ("generation", "training", "embedding", "loading")


class Clock:
    """Laps follow each other without gaps, so that their sum is the run's wall time in this process."""

    def __init__(self) -> None:
        self._lap_began = time.monotonic()
        self._external_s = dict.fromkeys(EXTERNAL, 0.0)

    @contextmanager
    def external(self, kind: str) -> Iterator[None]:
        """Count the block as time in another service; kinds never nest."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._external_s[kind] += time.monotonic() - began

    def elapsed_s(self) -> float:
        """Seconds since this lap began."""
        return time.monotonic() - self._lap_began

    def external_s(self) -> dict[str, float]:
        """Seconds of this lap in other services, by kind."""
        return {kind: spent for kind, spent in self._external_s.items() if spent}

    def lap(self) -> tuple[float, dict[str, float]]:
        """End the lap: its wall seconds and, of these, the external ones. The next begins."""
        external = self.external_s()
        now = time.monotonic()
        wall_s, self._lap_began = now - self._lap_began, now
        self._external_s = dict.fromkeys(EXTERNAL, 0.0)
        return wall_s, external


class Ledger:
    """Sums of laps over a run, rebuilt from the recorded steps after a restart."""

    def __init__(self) -> None:
        self.stages_s: dict[str, float] = {}
        self.external_s: dict[str, float] = dict.fromkeys(EXTERNAL, 0.0)

    def add(self, stage: str, wall_s: float, external_s: dict[str, float]) -> None:
        """Book one step."""
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + wall_s
        for kind, spent in external_s.items():
            self.external_s[kind] += spent

    def timings_s(self) -> dict[str, float]:
        """Seconds by stage, and ``total``."""
        return {**self.stages_s, "total": sum(self.stages_s.values())}
