"""A run's budget: which limit is reached, and a study with other limits. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from services.common.errors import PreconditionError
from services.orchestrator.documents import document_error
from services.orchestrator.study_sections import BudgetSettings

STOPPED = "budget_stopped"
"""Key of a run's value that says which limit has ended it, and at which step."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What a budget counts: tokens generated and read for it, optimiser steps, GPU and wall seconds."""

    tokens: float = 0.0
    training_steps: float = 0.0
    gpu_s: float = 0.0
    wall_s: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        mine, theirs = asdict(self), asdict(other)
        return Spending(**{name: mine[name] + theirs[name] for name in mine})

    def times(self, factor: float) -> "Spending":
        """So many times as much."""
        return Spending(**{name: value * factor for name, value in asdict(self).items()})


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that what comes next would pass: its name, what it allows, what is used, what would follow."""

    limit: str
    allowed: float
    used: float
    needed: float

    def sentence(self) -> str:
        """For people."""
        return (
            f"budget.{self.limit} allows {self.allowed:,.0f}: {self.used:,.0f} are used, and what comes next"
            f" with the end of the run takes about {self.needed:,.0f}"
        )


def spending_of(used: Mapping[str, float]) -> Spending:
    """From a tally's sums."""
    return Spending(
        tokens=used["prompt_tokens"] + used["completion_tokens"],
        training_steps=used["training_steps"],
        gpu_s=used["gpu_s"],
        wall_s=used["wall_s"],
    )


def reached(budget: BudgetSettings, used: Spending, needed: Spending) -> Reached | None:
    """The first limit that ``used`` has reached, or that ``needed`` more would pass; None without one."""
    spent, more = asdict(used), asdict(needed)
    for name, allowed in budget.model_dump().items():
        kind = name.removeprefix("max_")
        if allowed is not None and (spent[kind] >= allowed or spent[kind] + more[kind] > allowed):
            return Reached(name, allowed, spent[kind], more[kind])
    return None


def with_budget(study: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """A stored study with these limits, by name, instead of its own.

    InvalidInputError: a limit is wrong. PreconditionError: the study has no budget.
    """
    own = study.get("budget") or {}
    if all(limit is None for limit in own.values()):
        # Its steps must stay the same over its attempts, and a run with a budget has more of them.
        raise PreconditionError(
            "the run's study has no budget, and a retry can widen one but not add it; begin a new run"
        )
    merged = {**own, **{name: limit for name, limit in limits.items() if limit is not None}}
    try:
        checked = BudgetSettings.model_validate(merged)
    except ValidationError as error:
        raise document_error(error) from None
    return {**study, "budget": checked.model_dump(mode="json")}
