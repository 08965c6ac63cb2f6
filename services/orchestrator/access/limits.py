"""How often one caller may call, how often it may be wrong, and how many streams it may hold.

Counted in this process: with several replicas each counts for itself.
"""

import ipaddress
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from services.common.errors import OverloadedError


def parse_rate(text: str) -> RateLimitItem:
    """``"600/minute"`` or ``"5 per second"``. ValueError for anything else."""
    return parse(text)


class CallLimits:
    """Raises OverloadedError with ``details["retry_after_s"]`` where a limit is reached."""

    def __init__(self, rate: str, failures: str, max_streams: int) -> None:
        """``rate`` and ``failures`` as ``parse_rate`` reads them."""
        self._window = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._rate = parse_rate(rate)
        self._failures = parse_rate(failures)
        self._max_streams = max_streams
        self._streams: Counter[str] = Counter()

    def count_principal(self, name: str) -> None:
        """One call of a principal."""
        self._count(self._rate, "principal", name)

    def count_stranger(self, address: str) -> None:
        """One call from an address that showed no valid credential."""
        self._count(self._rate, "address", _network(address))

    def check_failures(self, address: str) -> None:
        """Refuse an address that was wrong too often, before its next credential is looked at."""
        network = _network(address)
        if not self._window.test(self._failures, "failures", network):
            raise self._over(self._failures, "failures", network, "credentials that were not valid")

    def count_failure(self, address: str) -> None:
        """One credential from an address that was not valid."""
        self._window.hit(self._failures, "failures", _network(address))

    @contextmanager
    def stream(self, name: str) -> Iterator[None]:
        """One event stream of a principal, while it is open."""
        if self._streams[name] >= self._max_streams:
            raise OverloadedError(
                f"{name} has {self._max_streams} event streams open, which is the most; close one",
                details={"retry_after_s": 5},
            )
        self._streams[name] += 1
        try:
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]

    def _count(self, limit: RateLimitItem, kind: str, who: str) -> None:
        if not self._window.hit(limit, kind, who):
            raise self._over(limit, kind, who, "calls")

    def _over(self, limit: RateLimitItem, kind: str, who: str, what: str) -> OverloadedError:
        reset = self._window.get_window_stats(limit, kind, who).reset_time
        wait_s = max(1, round(reset - time.time() + 0.5))
        return OverloadedError(
            f"{who} has made {limit.amount} {what} in {_span(limit)}, which is the most; wait {wait_s} s",
            details={"retry_after_s": wait_s},
        )


def _span(limit: RateLimitItem) -> str:
    seconds = limit.get_expiry()
    return f"{seconds} s"


def _network(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: a household has as many of those as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
