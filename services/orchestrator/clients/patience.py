"""How long a call waits for a service that is away.

A call that is refused because the service is not ready (starting, draining, restarting, or its
queue full) is made again, with backoff, until ``wait_s`` have gone by without any progress.
Only idempotent calls may be made through here.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from services.common.errors import ErrorCode, ValignError
from services.common.rpc.client import as_valign_error

Result = TypeVar("Result")

OnWaiting = Callable[[str, str], None]
"""Called with (service, reason) before each pause."""

_WAITS_FOR = frozenset({ErrorCode.NOT_READY, ErrorCode.OVERLOADED, ErrorCode.TIMEOUT})
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


def no_one_told(service: str, reason: str) -> None:
    """The default observer: nobody."""


def can_pass(error: ValignError) -> bool:
    """Whether waiting, or another replica, can cure it."""
    return error.code in _WAITS_FOR


@dataclass(frozen=True, slots=True)
class Patience:
    """``wait_s`` is the longest time without progress; ``call_s`` the deadline of a short call."""

    wait_s: float = 600.0
    call_s: float = 30.0


class Waiter:
    """Pauses between the attempts of one operation; ``progress`` starts its time anew."""

    def __init__(self, service: str, patience: Patience, on_waiting: OnWaiting) -> None:
        self._service = service
        self._patience = patience
        self._on_waiting = on_waiting
        self._attempt = 0
        self._since: float | None = None

    def progress(self) -> None:
        """The service did something: the wait, which begins with a failure, is over."""
        self._attempt = 0
        self._since = None

    async def pause(self, error: ValignError) -> None:
        """Sleep before the next attempt.

        Raises the error itself if it is none that waiting cures, or one that says so if the wait is over.
        """
        if not can_pass(error):
            raise error
        now = time.monotonic()
        self._since = self._since if self._since is not None else now
        waited_s = now - self._since
        if waited_s >= self._patience.wait_s:
            raise type(error)(
                f"{error.message} (waited {waited_s:.0f} s for the {self._service};"
                " start it, or raise VALIGN_ORCHESTRATOR_WAIT_FOR_SERVICES_S)",
                details=error.details,
            )
        self._on_waiting(self._service, error.message)
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._attempt)
        left = max(0.0, self._patience.wait_s - waited_s)
        self._attempt = min(self._attempt + 1, 10)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        await asyncio.sleep(min(left, longest * jitter))


async def patiently(
    service: str,
    patience: Patience,
    on_waiting: OnWaiting,
    call: Callable[[], Awaitable[Result]],
    *,
    overload_passes: bool = True,
) -> Result:
    """Make an idempotent unary call until it is answered. Raises ValignError.

    ``overload_passes`` False raises OverloadedError at once: it is no queue that empties by itself.
    """
    waiter = Waiter(service, patience, on_waiting)
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as raised:
            error = as_valign_error(raised)
            if error.code is ErrorCode.OVERLOADED and not overload_passes:
                raise error from raised
            await waiter.pause(error)
