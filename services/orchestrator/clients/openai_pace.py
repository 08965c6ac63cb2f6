"""How fast an endpoint is asked: no more at once than it bears, and not before it said.

Additive increase, multiplicative decrease (Chiu and Jain 1989): being told to slow down leaves a quarter of
the requests at once, and answers let more through little by little. Without it, requests that wait for one
moment go out together, are refused together, and some would use up their attempts without being served.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_DECREASE, _INCREASE = 4.0, 0.1


class Pace:
    """A gate for requests; all of it in one event loop."""

    def __init__(self, most: int) -> None:
        """``most``: requests at once that are never exceeded."""
        self._most = most
        self._allowed = float(most)
        self._inside = 0
        self._changed = asyncio.Condition()
        self._not_before = 0.0
        self._slowed_at = float("-inf")

    @property
    def allowed(self) -> int:
        """Requests at once that go out at present."""
        return int(self._allowed)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a place and for the moment; yields when the request goes out (the loop's clock)."""
        loop = asyncio.get_running_loop()
        async with self._changed:
            await self._changed.wait_for(lambda: self._inside < self.allowed)
            self._inside += 1
        try:
            while (left_s := self._not_before - loop.time()) > 0:  # noqa: ASYNC110 - it may be moved on
                await asyncio.sleep(left_s)
            yield loop.time()
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """A request was served."""
        self._allowed = min(float(self._most), self._allowed + _INCREASE / self._allowed)

    def refused(self, began: float, wait_s: float | None) -> None:
        """A request that went out at ``began`` was told to slow down, and to wait for ``wait_s``."""
        now = asyncio.get_running_loop().time()
        # Requests that were under way together are one message, not many.
        if began > self._slowed_at:
            self._allowed = max(1.0, self._allowed / _DECREASE)
            self._slowed_at = now
        if wait_s is not None:
            self._not_before = max(self._not_before, now + wait_s)
