"""Pauses between attempts, and their end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.webhooks.records import Attempt, Delivery
from services.orchestrator.webhooks.retrying import JITTER, Retrying
from services.orchestrator.webhooks.sending import retry_after_s

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FAILED = Attempt(500, "the receiver answered 500")


def _pause_s(
    attempts: int, attempt: Attempt = FAILED, first: datetime | None = None, **settings: float
) -> float | None:
    delivery = Delivery(
        "wh-1", 1, "e-1", "run.ended", "runs/r-1", NOW, {}, attempts=attempts, first_attempt_time=first
    )
    due = Retrying(**settings).next_time(delivery, attempt, NOW, lambda low, high: (low + high) / 2)  # type: ignore[arg-type]
    return None if due is None else (due - NOW).total_seconds()


def test_pauses_double_up_to_the_longest() -> None:
    assert [_pause_s(n) for n in range(5)] == [5, 10, 20, 40, 80]
    assert _pause_s(20) == 3600
    assert _pause_s(28) == 3600


def test_attempts_and_time_end_it() -> None:
    assert _pause_s(29) is None
    assert _pause_s(0, max_attempts=1) is None
    day_ago = NOW - timedelta(hours=23, minutes=30)
    assert _pause_s(8, first=day_ago) == 1280
    assert _pause_s(20, first=day_ago) is None


def test_gone_is_not_tried_again() -> None:
    assert _pause_s(0, Attempt(410, "gone", gone=True)) is None


@pytest.mark.parametrize(("asked", "pause"), [(None, 5), (1.0, 5), (60.0, 60), (1e9, 3600), (0.0, 5)])
def test_retry_after_lengthens_the_pause_up_to_the_longest(asked: float | None, pause: float) -> None:
    assert _pause_s(0, Attempt(503, "busy", retry_after_s=asked)) == pause


@given(attempts=st.integers(0, 28), asked=st.none() | st.floats(0, 1e12))
def test_any_pause_is_within_its_bounds(attempts: int, asked: float | None) -> None:
    delivery = Delivery("wh-1", 1, "e-1", "run.ended", "runs/r-1", NOW, {}, attempts=attempts)
    due = Retrying().next_time(delivery, Attempt(503, "busy", retry_after_s=asked), NOW)
    assert due is not None
    assert 5 * (1 - JITTER) <= (due - NOW).total_seconds() <= 3600 * (1 + JITTER)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("Thu, 26 Nov 2026 12:02:00 GMT", 120),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, 999_999_999),
        ("²", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds
