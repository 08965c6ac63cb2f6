"""What serves the platforms around valign: each field is one part of the application layer."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from services.orchestrator.looks import Probe
from services.orchestrator.monitor.service import Monitors
from services.orchestrator.review.service import Reviews
from services.orchestrator.webhooks.service import Webhooks


@dataclass(frozen=True, slots=True)
class Platform:
    """The parts, built together and handed to ``Application``.

    ``leader_tasks`` run in the one process that leads, each with the epoch of its leadership, until they are
    cancelled. ``probes`` tell people how the parts are.
    """

    reviews: Reviews
    webhooks: Webhooks
    monitors: Monitors
    leader_tasks: tuple[Callable[[int], Coroutine[Any, Any, None]], ...] = ()
    probes: tuple[Probe, ...] = ()
