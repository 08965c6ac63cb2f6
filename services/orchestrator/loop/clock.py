"""Where a run's time goes: wall time of each step, of it the time in other services, and what those spent."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

Spent = dict[str, dict[str, float]]
"""By service: ``cpu_s`` and, where there is a GPU, ``gpu_s``, in seconds."""

EXTERNAL = ("generation", "training", "embedding", "loading")


def add_spent(total: Spent, more: Mapping[str, Mapping[str, float]]) -> None:
    """Add ``more`` to ``total``."""
    for service, seconds in more.items():
        kept = total.setdefault(service, {})
        for kind, value in seconds.items():
            kept[kind] = round(kept.get(kind, 0.0) + value, 6)


class Clock:
    """Laps follow each other without gaps, so that their sum is the run's wall time in this process."""

    def __init__(self) -> None:
        self._lap_began = self._told = time.monotonic()
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

    def new_s(self) -> float:
        """Seconds since this was asked last, or since the clock was made: each second is told once."""
        now = time.monotonic()
        spent, self._told = now - self._told, now
        return spent

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
        self._usage: dict[str, Spent] = {}

    def add(
        self, stage: str, wall_s: float, external_s: dict[str, float], usage: Spent | None = None
    ) -> None:
        """Book one step."""
        add_spent(self._usage.setdefault(stage, {}), usage or {})
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + wall_s
        for kind, spent in external_s.items():
            self.external_s[kind] += spent

    def usage_of(self, stage: str, more: Spent) -> Spent:
        """CPU and GPU seconds of a stage by service, with what the step that goes on has spent."""
        total: Spent = {}
        for spent in (self._usage.get(stage, {}), more):
            add_spent(total, spent)
        return total

    def usage_s(self) -> Spent:
        """CPU and GPU seconds of the run by service."""
        total: Spent = {}
        for spent in self._usage.values():
            add_spent(total, spent)
        return total

    def timings_s(self) -> dict[str, float]:
        """Seconds by stage, and ``total``."""
        return {**self.stages_s, "total": sum(self.stages_s.values())}
