"""Numbers and texts as shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.report.text import change, columns, number, percent, seconds, shorten, wrap


@pytest.mark.parametrize(
    ("reduction", "shown"), [(0.405, "−40.5%"), (-0.02, "+2.0%"), (0.0, "0.0%"), (None, "–")]
)
def test_change_is_written_as_the_paper_does(reduction: float | None, shown: str) -> None:
    assert change(reduction) == shown


def test_numbers_have_fixed_digits_and_a_true_minus() -> None:
    assert (number(0.44), number(-0.1, 1), number(None), percent(0.0666, 1)) == ("0.440", "−0.1", "–", "6.7%")


@pytest.mark.parametrize(("value_s", "shown"), [(0.84, "0.8 s"), (91.4, "1 min 31 s"), (7384, "2 h 3 min")])
def test_seconds_shows_the_two_largest_units(value_s: float, shown: str) -> None:
    assert seconds(value_s) == shown


def test_shorten_removes_control_characters_and_cuts_at_a_word() -> None:
    assert shorten("a\x00b\n\tc", 99) == "a b c"
    assert shorten("one two three four", 15) == "one two three…"


def test_wrap_counts_wide_characters_twice_and_marks_none() -> None:
    assert columns("安全") == 4
    assert columns("e\u0301") == 1
    assert wrap("人工智能的可解释性", 8, 9) == ["人工智能", "的可解释", "性"]


def test_wrap_text_left_over_ends_with_an_ellipsis() -> None:
    assert wrap("Moral and Ethical Observations", 12, 2) == ["Moral and", "Ethical…"]


@given(st.text(max_size=200), st.integers(4, 40), st.integers(1, 3))
def test_wrap_any_text_keeps_to_width_and_lines(text: str, width: int, max_lines: int) -> None:
    lines = wrap(text, width, max_lines)
    assert 1 <= len(lines) <= max_lines
    assert all(columns(line) <= width for line in lines)


@given(st.text(max_size=300), st.integers(2, 100))
def test_shorten_any_text_keeps_to_the_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit
