"""How long a replica is left alone that has failed, longer each time that it fails again."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.common.errors import ValignError


@dataclass(frozen=True, slots=True)
class Pause:
    """A replica that is left alone: how often it has failed in a row, its last word, and until when."""

    failures: int
    error: ValignError
    until: float

    @property
    def over(self) -> bool:
        """Whether it may be asked again."""
        return self.until <= time.monotonic()


def pause_after(
    before: Pause | None,
    error: ValignError,
    tell: Callable[[], None],
    *,
    first_s: float,
    longest_s: float,
) -> Pause:
    """The pause after one failure more. ``tell`` is called when it is over, in the running event loop."""
    failures = before.failures + 1 if before is not None else 1
    pause_s = min(longest_s, first_s * 2 ** (failures - 1))
    # A little later than that, so that it may be asked again when somebody hears of it.
    asyncio.get_running_loop().call_later(pause_s + 0.01, tell)
    return Pause(failures, error, time.monotonic() + pause_s)
