"""What past runs of a model used, so that the next one's cost is not a guess."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.orchestrator.listing import Page
from services.orchestrator.loop.tally import COUNTS, SECONDS, USED
from services.orchestrator.ports import RunStatus, RunStore

_LOOKED_AT = 50
_MOST = 10
# A stage that always runs whole: of the iterations a plan knows the most alone.
_WHOLE = "uncover"


@dataclass(frozen=True, slots=True)
class Past:
    """Sums over past runs. ``slots``: completions that the stage uncover had asked for if every first draw
    were usable; ``drawn``: those that it took."""

    runs: int = 0
    used: Mapping[str, float] = field(default_factory=dict)
    slots: int = 0
    drawn: float = 0.0

    @property
    def completion_tokens(self) -> float | None:
        """Mean length of a completion; None if nothing is known."""
        count = self.used.get("completions", 0)
        return self.used["completion_tokens"] / count if count else None

    @property
    def draws_per_slot(self) -> float:
        """Mean number of draws, at least 1."""
        return max(1.0, self.drawn / self.slots) if self.slots else 1.0


def past_of(store: RunStore, model_fingerprint: str) -> Past:
    """The newest succeeded runs of the model that say what they used, ten at the most."""
    if not model_fingerprint:
        return Past()
    found, _ = store.list_runs(RunStatus.SUCCEEDED, page=Page(_LOOKED_AT, ""))
    sums: dict[str, float] = dict.fromkeys((*COUNTS, *SECONDS), 0.0)
    runs = slots = 0
    drawn = 0.0
    for run in found:
        served = store.get_value(run.run_id, "served") or {}
        used = store.get_value(run.run_id, USED)
        planned = store.get_value(run.run_id, "planned")
        if served.get("generator") != model_fingerprint or not used or not planned:
            continue
        for stage, part in used.get("stages", {}).items():
            for name, value in part.items():
                sums[name] = sums.get(name, 0.0) + value
            if stage == _WHOLE:
                slots += planned["slots"].get(stage, 0)
                drawn += part.get("completions", 0)
        runs += 1
        if runs == _MOST:
            break
    return Past(runs, sums, slots, drawn)
