"""What a call cost: CPU and GPU seconds, told by the service that spent them.

A service charges the account of the call that it works for; the account travels back in the call's trailing
metadata, and whoever made the call collects it. A call that breaks off brings no account: what it cost stands
in the service's own counters alone.

CPU seconds are those of the service's processes. GPU seconds are wall seconds times the GPUs that the engine
holds, while there is work in it, shared by the requests that are in it together; on a CPU there are none.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

CPU_TRAILER = "valign-cpu-seconds"
GPU_TRAILER = "valign-gpu-seconds"
# Reading the CPU time of other processes takes some microseconds; requests may end more often than that pays.
_SETTLE_S = 0.05


@dataclass(slots=True, eq=False)
class Usage:
    """Seconds spent. Accounts are told apart by identity."""

    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def add(self, cpu_s: float, gpu_s: float = 0.0) -> None:
        """Book some more."""
        self.cpu_s += cpu_s
        self.gpu_s += gpu_s


OnUsage = Callable[[str, Usage], None]
"""Told the service's full name and what one call of it cost."""

_account: ContextVar[Usage | None] = ContextVar("account", default=None)
_collector: ContextVar[OnUsage | None] = ContextVar("usage_collector", default=None)


# In a service


@contextmanager
def accounting() -> Iterator[Usage]:
    """The block is one call, with an account of its own."""
    account = Usage()
    token = _account.set(account)
    try:
        yield account
    finally:
        _account.reset(token)


def account() -> Usage:
    """The account of the call that is worked for; outside a call, one that nobody reads."""
    return _account.get() or Usage()


def trailers_of(spent: Usage) -> tuple[tuple[str, str], ...]:
    """Trailing metadata of a call that cost something."""
    if not spent.cpu_s and not spent.gpu_s:
        return ()
    return ((CPU_TRAILER, f"{spent.cpu_s:.6f}"), (GPU_TRAILER, f"{spent.gpu_s:.6f}"))


class Meter:
    """Shares what an engine spends among those who have requests in it. Belongs to one event loop.

    Args:
        cpu_s: CPU seconds that the engine's processes have used so far.
        gpus: GPUs that it holds; 0 on a CPU.
        on_spent: told the CPU and GPU seconds as they are shared out, for counters.
    """

    def __init__(
        self,
        cpu_s: Callable[[], float],
        gpus: Callable[[], int],
        on_spent: Callable[[float, float], None],
    ) -> None:
        self._cpu_s = cpu_s
        self._gpus = gpus
        self._on_spent = on_spent
        self._busy: Counter[Usage] = Counter()
        self._since_s = 0.0
        self._cpu_since_s = 0.0

    @contextmanager
    def working_for(self, account: Usage) -> Iterator[None]:
        """One request of an account is in the engine while the block runs."""
        if self._busy:
            self._settle(at_once=False)
        else:
            self._since_s, self._cpu_since_s = time.monotonic(), self._cpu_s()
        self._busy[account] += 1
        try:
            yield
        finally:
            last = self._busy[account] == 1
            self._settle(at_once=last)
            self._busy[account] -= 1
            if last:
                del self._busy[account]

    def _settle(self, *, at_once: bool) -> None:
        now_s = time.monotonic()
        if not at_once and now_s - self._since_s < _SETTLE_S:
            return
        cpu_now_s = self._cpu_s()
        # A process that has ended takes its time with it.
        cpu_s = max(0.0, cpu_now_s - self._cpu_since_s)
        gpu_s = (now_s - self._since_s) * self._gpus()
        self._since_s, self._cpu_since_s = now_s, cpu_now_s
        total = self._busy.total()
        for account, requests in self._busy.items():
            account.add(cpu_s * requests / total, gpu_s * requests / total)
        self._on_spent(cpu_s, gpu_s)


# In a caller


@contextmanager
def collecting(on_usage: OnUsage) -> Iterator[None]:
    """What calls that begin in the block cost is told to ``on_usage`` when they end."""
    token = _collector.set(on_usage)
    try:
        yield
    finally:
        _collector.reset(token)


def collector() -> OnUsage | None:
    """Who wants to know what a call made now will cost."""
    return _collector.get()


def usage_from(trailers: Iterable[tuple[str, str | bytes]]) -> Usage | None:
    """What a call's trailing metadata says that it cost; None if nothing."""
    told = {name: value for name, value in trailers if name in (CPU_TRAILER, GPU_TRAILER)}
    try:
        spent = Usage(float(told.get(CPU_TRAILER, 0.0)), float(told.get(GPU_TRAILER, 0.0)))
    except ValueError:
        return None
    return spent if told else None
