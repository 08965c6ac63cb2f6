"""What serves the platforms around valign: each field is one part of the application layer."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from services.orchestrator.review.service import Reviews


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts, built together and handed to ``Application``.

    ``leader_tasks`` run in the one process that leads, each with the epoch of its leadership, until they are
    cancelled.
    """

    reviews: Reviews
    leader_tasks: tuple[Callable[[int], Coroutine[Any, Any, None]], ...] = ()
