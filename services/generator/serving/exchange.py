"""One HTTP request that has found its adapter, known to whatever works on it."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from services.generator.service import Hold


@dataclass(slots=True)
class Part:
    """What the engine told of one prompt; whole once ``ended``.

    Attributes:
        reasons: why each of its answers ended, by the answer's index.
        error: the class of what ended it, or "".
    """

    prompt_tokens: int = 0
    generated_tokens: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    error: str = ""
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a request was resolved to.

    Attributes:
        operation: one of the face's operations, for example ``"chat"``.
        model: the model's name as it was asked for.
        route: the public name, if the model is one; else empty.
        hold: the adapter, held until nothing works on the request any more.
        parts: filled by whoever works on it: one for each prompt, in their order.
    """

    operation: str
    model: str
    route: str
    hold: Hold
    parts: list[Part] = field(default_factory=list)


CURRENT: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of the task that runs, and of the tasks that it starts."""
