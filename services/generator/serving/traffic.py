"""Live exchanges for whoever watches a public name, while it watches. Nothing is kept."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from services.common.errors import InvalidInputError, OverloadedError
from services.generator.metrics import TRAFFIC_SAMPLES

MOST_WATCHERS = 16
QUEUED_EXCHANGES = 64
"""Exchanges that a watcher may be behind; more are dropped and counted."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One exchange: turns as (role, content), and the text that was answered.

    ``served`` and ``dropped`` count since the message before; see the contract.
    """

    id: str
    messages: tuple[tuple[str, str], ...]
    text: str
    finish_reason: str
    adapter: str
    end_time_ms: int
    served: int = 0
    dropped: int = 0


@dataclass(eq=False, slots=True)
class Watch:
    """One watcher of one public name."""

    route: str
    rate: float
    queue: asyncio.Queue[Observed] = field(default_factory=lambda: asyncio.Queue(QUEUED_EXCHANGES))
    served: int = 0
    dropped: int = 0

    async def exchanges(self) -> AsyncGenerator[Observed, None]:
        """Each as it comes, for ever."""
        while True:
            yield await self.queue.get()

    def put(self, observed: Observed) -> None:
        """Queue it, or count that it was dropped. Never waits."""
        if self.queue.full():
            self.drop()
            return
        self.queue.put_nowait(replace(observed, served=self.served, dropped=self.dropped))
        self.served = self.dropped = 0
        TRAFFIC_SAMPLES.labels("taken").inc()

    def drop(self) -> None:
        """Count one that was chosen and cannot be shown."""
        self.dropped += 1
        TRAFFIC_SAMPLES.labels("dropped").inc()


class Traffic:
    """The watchers of one process. Not thread-safe: lives in one event loop."""

    def __init__(self) -> None:
        self._watches: dict[str, list[Watch]] = {}

    @contextmanager
    def watch(self, route: str, rate: float) -> Iterator[Watch]:
        """A watch, while the block runs.

        Raises:
            InvalidInputError: the rate is not in (0, 1], or there is no name.
            OverloadedError: too many watch already.
        """
        if not route:
            raise InvalidInputError("name the route whose traffic is wanted")
        if not 0 < rate <= 1:
            raise InvalidInputError(f"the rate is {rate:g}, not in (0, 1]")
        if sum(map(len, self._watches.values())) >= MOST_WATCHERS:
            raise OverloadedError(f"{MOST_WATCHERS} watch the traffic already, which is the most")
        made = Watch(route, rate)
        self._watches.setdefault(route, []).append(made)
        try:
            yield made
        finally:
            self._watches[route].remove(made)
            if not self._watches[route]:
                del self._watches[route]

    def choose(self, route: str) -> tuple[Watch, ...]:
        """The watchers that are to see the exchange that begins now; usually none."""
        watches = self._watches.get(route)
        if not watches:
            return ()
        return tuple(one for one in watches if random.random() < one.rate)  # noqa: S311 - a sample, no secret

    def ended(self, route: str) -> None:
        """An exchange under the name has ended well, chosen or not. To be told before ``Watch.put``."""
        for one in self._watches.get(route, ()):
            one.served += 1


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return int(time.time() * 1000)
