"""Exchanges of the public name, the windows they are compared by, and what a comparison found."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ANSWERS, REQUESTS = "answers", "requests"
"""The two sides of an exchange, as a comparison names them."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange as a generator tells it: the last turn that was asked, and the text that answered.

    ``dropped``: exchanges before it that were chosen and could not be told.
    """

    id: str
    request: str
    answer: str
    adapter: str
    end_time: datetime
    dropped: int = 0


class Traffic(Protocol):
    """One replica of the generator."""

    target: str

    def exchanges(self, route: str, rate: float) -> AsyncGenerator[Exchange, None]:
        """A share of what the public name serves, each as it ends. Raises the ValignError of the replica."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One kept exchange, redacted. ``number`` counts the monitor's, from 1."""

    monitor_id: str
    number: int
    route_version: int
    request_id: str
    request: str
    answer: str
    adapter: str
    end_time: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """Embeddings of the exchanges that later ones are compared with, unit rows of shape (n, dimension)."""

    encoder: str
    answers: NDArray[np.float32]
    requests: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LiveState:
    """How far the comparison of a monitor is: of which version of the route, up to which sample."""

    route_version: int
    judged: int
    window: Window | None


class LiveOutcome(StrEnum):
    """What a look at the live exchanges gave."""

    COLLECTING = "collecting"
    BASELINE = "baseline"
    NORMAL = "normal"
    SMALL = "small"
    MOVED = "moved"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LiveFound:
    """One look. ``samples`` of ``wanted`` exchanges were there; energies are of the two sides.

    ``judged`` and ``window`` are what the store keeps of it; None leaves what it has.
    """

    outcome: LiveOutcome
    message: str
    samples: int
    wanted: int
    p_value: float = 1.0
    answers_energy: float = 0.0
    requests_energy: float = 0.0
    moved: tuple[str, ...] = ()
    route_version: int = 0
    judged: int | None = None
    window: Window | None = None

    def as_result(self) -> Mapping[str, Any]:
        """What a measurement's result tells of it, JSON-able."""
        told = ("message", "samples", "wanted", "p_value", "answers_energy", "requests_energy")
        values = {name: getattr(self, name) for name in told}
        return {**values, "outcome": self.outcome.value, "moved": list(self.moved)}
