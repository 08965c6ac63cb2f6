"""What a campaign found: the table, the JSON beside it, and whether anything was violated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.chaos.campaign.payments import Account


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill; ``recovery_s``: from it to the victim's next word of health, and to the run's next event."""

    run: int
    victim: str
    stage: str
    pause_s: float
    ready_s: float
    recovery_s: float


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run of the campaign against the undisturbed one of its study."""

    run_id: str
    study_seed: int
    kills: int
    duration_s: float
    status: str
    error: str
    differences: tuple[str, ...]
    account: Account
    trained_twice: tuple[str, ...]
    events: tuple[str, ...]
    """What is wrong with the numbers or ends of its events."""


@dataclass(slots=True)
class Outcome:
    """The whole campaign."""

    victims: Sequence[str]
    stages: Sequence[str]
    wanted: int
    kills: list[Kill] = field(default_factory=list)
    runs: list[RunOutcome] = field(default_factory=list)
    missed: int = 0
    duration_s: float = 0.0

    def violations(self) -> list[str]:
        """One line for each thing that must not be."""
        told = []
        if len(self.kills) < self.wanted:
            told.append(f"only {len(self.kills)} of {self.wanted} kills found their stage in time")
        for run in self.runs:
            name = f"run {run.run_id}"
            if run.status != "succeeded":
                told.append(f"{name} {run.status} ({run.error})")
            told += [f"{name}: {line}" for line in run.differences]
            told += [f"{name}: stored, and paid for again: {key}" for key in run.account.stored_before]
            told += [f"{name}: trained twice to the end: {job}" for job in run.trained_twice]
            told += [f"{name}: {line}" for line in run.events]
        return told

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "kills": [asdict(kill) for kill in self.kills],
            "runs": [asdict(run) for run in self.runs],
            "kills_replanned": self.missed,
            "duration_s": round(self.duration_s, 1),
            "violations": self.violations(),
        }

    def table(self) -> str:
        """For people."""
        counts = Counter((kill.victim, kill.stage) for kill in self.kills)
        width = max(len(name) for name in (*self.victims, "total")) + 1
        columns = [max(len(stage), 3) + 2 for stage in self.stages]

        def line(name: str, cells: Sequence[object], last: object) -> str:
            row = "".join(f"{cell!s:>{size}}" for cell, size in zip(cells, columns, strict=True))
            return f"{name:<{width}}{row}{last!s:>8}"

        lines = [line("kills", self.stages, "total")]
        for victim in self.victims:
            cells = [counts[victim, stage] for stage in self.stages]
            lines.append(line(victim, cells, sum(cells)))
        totals = [sum(counts[victim, stage] for victim in self.victims) for stage in self.stages]
        lines += [line("total", totals, len(self.kills)), ""]
        ended = sum(run.status == "succeeded" for run in self.runs)
        recoveries = [kill.recovery_s for kill in self.kills] or [0.0]
        most_again = max((run.account.most_after_one_kill for run in self.runs), default=0)
        facts: list[tuple[str, object]] = [
            ("kills by SIGKILL", len(self.kills)),
            ("kills that came too late, and were planned again", self.missed),
            ("runs disturbed / ended with success", f"{len(self.runs)} / {ended}"),
            ("differences from the undisturbed runs", sum(len(run.differences) for run in self.runs)),
            ("completions paid for", sum(run.account.paid for run in self.runs)),
            ("  of them again, having been in flight at a kill", self._in_flight()),
            ("  of them again, having been stored", sum(len(r.account.stored_before) for r in self.runs)),
            ("  most again after one kill", most_again),
            ("trainings run twice to the end", sum(len(run.trained_twice) for run in self.runs)),
            ("event numbers out of order, events of an end twice", sum(len(r.events) for r in self.runs)),
            ("recovery: median / most", f"{median(recoveries):.1f} s / {max(recoveries):.1f} s"),
            *((f"  {victim}", self._recovery(victim)) for victim in self.victims),
            ("duration", f"{self.duration_s:.0f} s"),
        ]
        lines += [f"{name:<56}{value!s:>14}" for name, value in facts]
        return "\n".join(lines)

    def _in_flight(self) -> int:
        return sum(run.account.again - len(run.account.stored_before) for run in self.runs)

    def _recovery(self, victim: str) -> str:
        times = [kill.recovery_s for kill in self.kills if kill.victim == victim]
        return f"{median(times):.1f} s / {max(times):.1f} s" if times else "-"
