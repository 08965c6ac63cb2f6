"""Numbers and texts as the page shows them."""

import unicodedata
from collections.abc import Callable, Iterator

from services.orchestrator.analysis.results import Estimate

_ELLIPSIS = "…"


def number(value: float | None, digits: int = 3) -> str:
    """A value difference; an en dash where there is none, a true minus sign."""
    if value is None:
        return "–"
    # Adding 0.0 makes a minus zero plain: no minus sign before a number that shows as 0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent."""
    return "–" if fraction is None else f"{number(100 * fraction, digits)}%"


def span(estimate: Estimate | None, shown: Callable[[float | None], str] = number) -> str:
    """The ends of an interval, an en dash where there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return "–"
    return f"{shown(estimate.low)} to {shown(estimate.high)}"


def p_value(value: float | None) -> str:
    """A p-value as "p = 0.012" or "p < 0.001"."""
    if value is None:
        return "–"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def measure(value: float | None) -> str:
    """A number of any size: three digits behind the point, one from 10 on."""
    return number(value, 1 if value is not None and abs(value) >= 10 else 3)


def change(reduction: float | None) -> str:
    """A reduction as the paper writes it: a fall of 0.4 is a change of minus 40 percent."""
    if reduction is None:
        return "–"
    shown = -100 * reduction
    return f"{'+' if shown > 0 else ''}{number(shown + 0.0, 1)}%"


def seconds(value_s: float) -> str:
    """A duration in the two largest units that matter."""
    if value_s < 60:
        return f"{value_s:.1f} s"
    minutes, rest_s = divmod(round(value_s), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, no control characters, cut at a word where there is one near."""
    plain = "".join(char if unicodedata.category(char) not in ("Cc", "Cs") else " " for char in text)
    plain = " ".join(plain.split())
    if len(plain) <= limit:
        return plain
    cut = plain[: limit - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit * 0.8 else cut).rstrip() + _ELLIPSIS


def columns(text: str) -> int:
    """Width in columns of a Latin letter: wide East Asian characters take two, combining marks none."""
    return sum(_char_columns(char) for char in text)


def wrap(text: str, width: int, max_lines: int) -> list[str]:
    """Lines of at most ``width`` columns, broken at spaces, or anywhere if a word is longer; the last
    line ends with an ellipsis if text is left over."""
    lines: list[str] = [""]
    for piece in _pieces(text, width):
        if columns(lines[-1]) + columns(piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    lines = [line.rstrip() for line in lines]
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and columns(last) > width - 1:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], last.rstrip() + _ELLIPSIS]
    return lines


def _char_columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pieces(text: str, width: int) -> Iterator[str]:
    """Words with the space behind them; wide characters and over-long words character by character."""
    for word in text.split():
        if columns(word) > width or any(unicodedata.east_asian_width(char) in "WF" for char in word):
            yield from word
            yield " "
        else:
            yield word + " "
