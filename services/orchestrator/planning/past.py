"""What past runs of a model used, so that the next one's cost is not a guess."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.orchestrator.listing import Page
from services.orchestrator.loop.context import SERVED
from services.orchestrator.loop.tally import COUNTS, SECONDS, USED
from services.orchestrator.planning.hardware import GENERATED_ON, TRAINED_ON, Hardware, hardware_of
from services.orchestrator.ports import RunStatus, RunStore

_LOOKED_AT = 50
_MOST = 10
# A stage that always runs whole (of the iterations a plan knows the most alone), and only generates.
_WHOLE = "uncover"


@dataclass(frozen=True, slots=True)
class Measured:
    """Sums of one run, and what it ran on."""

    used: Mapping[str, float]
    generated_on: Hardware = Hardware()  # noqa: RUF009 - frozen
    trained_on: Hardware = Hardware()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Past:
    """Past runs, the newest first. ``slots``: completions that the stage uncover had asked for if every first
    draw were usable; ``drawn``: those that it took."""

    measured: tuple[Measured, ...] = ()
    slots: int = 0
    drawn: float = 0.0
    used: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "used", summed_use(self.measured))

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.measured)

    @property
    def completion_tokens(self) -> float | None:
        """Mean length of a completion; None if nothing is known."""
        count = self.used.get("completions", 0)
        return self.used["completion_tokens"] / count if count else None

    @property
    def draws_per_slot(self) -> float:
        """Mean number of draws, at least 1."""
        return max(1.0, self.drawn / self.slots) if self.slots else 1.0


def summed_use(runs: Iterable[Measured]) -> dict[str, float]:
    """What these runs used together; every name of the tally is there."""
    sums: dict[str, float] = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    for run in runs:
        for name, value in run.used.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def past_of(store: RunStore, model_fingerprint: str) -> Past:
    """The newest succeeded runs of the model that say what they used, ten at the most."""
    if not model_fingerprint:
        return Past()
    found, _ = store.list_runs(RunStatus.SUCCEEDED, page=Page(_LOOKED_AT, ""))
    measured: list[Measured] = []
    slots = 0
    drawn = 0.0
    for run in found:
        served = store.get_value(run.run_id, SERVED) or {}
        used = store.get_value(run.run_id, USED)
        planned = store.get_value(run.run_id, "planned")
        if served.get("generator") != model_fingerprint or not used or not planned:
            continue
        stages = used.get("stages", {})
        generated_on = store.get_value(run.run_id, GENERATED_ON)
        measured.append(
            Measured(
                summed_use(Measured(part) for part in stages.values()),
                hardware_of(generated_on, _replicas(generated_on, stages.get(_WHOLE, {}))),
                hardware_of(store.get_value(run.run_id, TRAINED_ON)),
            )
        )
        if _WHOLE in stages:
            slots += planned["slots"].get(_WHOLE, 0)
            drawn += stages[_WHOLE].get("completions", 0)
        if len(measured) == _MOST:
            break
    return Past(tuple(measured), slots, drawn)


def _replicas(generated_on: Mapping[str, Any] | None, used: Mapping[str, float]) -> float:
    """Engines that held their GPUs while texts were generated: GPU-seconds a second, by an engine's GPUs."""
    gpus, seconds = (generated_on or {}).get("gpus", 0), used.get("generation_s", 0.0)
    return used.get("gpu_s", 0.0) / seconds / gpus if gpus and seconds else 0.0
