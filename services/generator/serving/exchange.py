"""One HTTP request that has found its adapter, known to whatever works on it."""

from contextvars import ContextVar
from dataclasses import dataclass

from services.generator.service import Hold


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a request was resolved to.

    Attributes:
        operation: one of the face's operations, for example ``"chat"``.
        model: the model's name as it was asked for.
        route: the public name, if the model is one; else empty.
        hold: the adapter, held until nothing works on the request any more.
    """

    operation: str
    model: str
    route: str
    hold: Hold


CURRENT: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of the task that runs, and of the tasks that it starts."""
