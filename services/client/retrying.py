"""When a call is sent again, and how long to wait before it.

Sent again is only what cannot happen twice: a GET, a check, or a change with an idempotency key.
"""

import email.utils
import random
import time
from dataclasses import dataclass

RETRIED_STATUS = frozenset({429, 502, 503, 504})
IN_FLIGHT = 409
"""With ``Retry-After``: the same key is being answered at this moment."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how patiently. Waits double from ``first_s`` to ``longest_s``, in seconds, and are
    shortened at random by up to a half, so that many callers do not come back together."""

    attempts: int = 4
    first_s: float = 0.5
    longest_s: float = 20.0

    def may(self, attempt: int) -> bool:
        """Whether there is another attempt after this one (from 1)."""
        return attempt < self.attempts

    def wait_s(self, attempt: int, told_s: float | None) -> float:
        """Seconds to wait after an attempt (from 1); what the server says stands, up to ``longest_s``."""
        if told_s is not None:
            return min(max(told_s, 0.0), self.longest_s)
        upper_s: float = min(self.first_s * 2 ** (attempt - 1), self.longest_s)
        return upper_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


NEVER = Retry(attempts=1)


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a ``Retry-After`` says (RFC 9110 section 10.2.3): a number or a date; None for neither."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def is_retried(status: int, told_s: float | None) -> bool:
    """Whether an answer with this status may be another one later."""
    return status in RETRIED_STATUS or (status == IN_FLIGHT and told_s is not None)
