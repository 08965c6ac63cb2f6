"""When a delivery that failed is tried again, and when it is given up. Pure, but for the jitter's dice."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.orchestrator.webhooks.records import Attempt, Delivery

JITTER = 0.2
"""A pause is changed by at most this share: receivers that were away are not met by everything at once."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """Pauses double from the first to the longest.

    ``max_attempts`` and ``give_up_after_s`` (from the first attempt) end them, whichever comes first. In the
    first ``in_order_attempts`` a delivery holds back those behind it at the same webhook.
    """

    max_attempts: int = 30
    give_up_after_s: float = 86_400.0
    first_pause_s: float = 5.0
    longest_pause_s: float = 3600.0
    in_order_attempts: int = 5

    def next_time(
        self,
        delivery: Delivery,
        attempt: Attempt,
        now: datetime,
        dice: Callable[[float, float], float] = random.uniform,
    ) -> datetime | None:
        """When to try again after this failed attempt; None to give up.

        A receiver that asks for a longer pause (Retry-After) gets it, up to the longest.
        """
        tried = delivery.attempts + 1
        if attempt.gone or tried >= self.max_attempts:
            return None
        pause_s = min(self.longest_pause_s, self.first_pause_s * 2.0 ** min(tried - 1, 60))
        pause_s *= dice(1 - JITTER, 1 + JITTER)
        if attempt.retry_after_s is not None:
            pause_s = max(pause_s, min(attempt.retry_after_s, self.longest_pause_s))
        due = now + timedelta(seconds=pause_s)
        first = delivery.first_attempt_time or now
        return due if due - first <= timedelta(seconds=self.give_up_after_s) else None
