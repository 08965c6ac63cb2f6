"""What a run's events add up to: the state that the live display shows. No terminal in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STAGES = (
    "prepare",
    "uncover",
    "quantify",
    "analyse",
    "realign",
    "judge",
    "controls",
    "probes",
    "verdict",
    "report",
)
ENDINGS = {"run.succeeded": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled"}


@dataclass(slots=True)
class StageState:
    """One stage: items done of a total, in all and per topic; ``duration_s`` once it has ended."""

    started: bool = False
    iteration: int | None = None
    done: int = 0
    total: int = 0
    topics: dict[str, tuple[int, int]] = field(default_factory=dict)
    duration_s: float | None = None


@dataclass(slots=True)
class RunState:
    """A run as its events tell it. ``last_number`` is what a reconnecting reader sends back."""

    run_id: str
    name: str = ""
    status: str = "queued"
    stages: dict[str, StageState] = field(default_factory=lambda: {name: StageState() for name in STAGES})
    training: Mapping[str, Any] | None = None
    iterations: list[Mapping[str, Any]] = field(default_factory=list)
    adapter: str = ""
    verdict: Mapping[str, Any] | None = None
    waiting: str = ""
    error: str = ""
    last_number: str = ""

    @property
    def ended(self) -> bool:
        """True once nothing more will come."""
        return self.status in ENDINGS.values()

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event in; kinds that this version does not know change nothing but the number."""
        self.last_number = str(event.get("number") or self.last_number)
        data: Mapping[str, Any] = event.get("data") or {}
        kind = str(event.get("kind", ""))
        if kind != "service.waiting":
            self.waiting = ""
        match kind:
            case "run.started":
                self.status = "running"
            case "run.paused":
                self.status = "paused"
            case "run.resumed" | "run.retried":
                self.status, self.error, self.training = "queued", "", None
            case "stage.started":
                self._start(data)
            case "stage.progress":
                self._progress(data)
            case "stage.ended":
                self._stage(data).duration_s = float(data.get("duration_s") or 0.0)
            case "training.progress":
                self.training = data
            case "adapter.loaded":
                self.adapter, self.training = str(data.get("name", "")), None
            case "iteration.ended":
                self.iterations.append(data)
            case "verdict.reached":
                self.verdict = data
            case "service.waiting":
                self.waiting = f"waiting for the {data.get('service')}: {data.get('reason')}"
            case "run.succeeded" | "run.failed" | "run.cancelled":
                self.status = ENDINGS[kind]
                self.error = str(data.get("message", "")) if kind == "run.failed" else ""

    def _stage(self, data: Mapping[str, Any]) -> StageState:
        return self.stages.setdefault(str(data.get("stage", "")), StageState())

    def _start(self, data: Mapping[str, Any]) -> None:
        stage = self._stage(data)
        stage.started, stage.duration_s = True, None
        if data.get("iteration") is not None:
            stage.iteration, stage.topics = int(data["iteration"]), {}
            stage.done = stage.total = 0

    def _progress(self, data: Mapping[str, Any]) -> None:
        stage = self._stage(data)
        stage.started = True
        if data.get("iteration") is not None and data["iteration"] != stage.iteration:
            self._start(data)
        done, total = int(data.get("done") or 0), int(data.get("total") or 0)
        if not data.get("topic"):
            stage.done, stage.total = done, total
            return
        stage.topics[str(data["topic"])] = (done, total)
        stage.done = sum(part for part, _ in stage.topics.values())
        stage.total = max(stage.total, sum(whole for _, whole in stage.topics.values()))
