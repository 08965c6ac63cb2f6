"""Texts of models and users inside Markdown: shown, never interpreted."""

import re
from collections.abc import Iterable, Iterator, Sequence

from services.orchestrator.report.text import shorten

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~])")
_MOST_CHARS = 2_000


def line(text: str) -> str:
    """One line of plain text: no markup, no HTML, no control characters."""
    plain = shorten(text, _MOST_CHARS)
    # A dash, plus or number in front would begin a list.
    return re.sub(r"^([-+=]|\d+[.)])", r"\\\1", _MARKS.sub(r"\\\1", plain.replace("&", "&amp;")))


def cell(text: str) -> str:
    """The same inside a table."""
    return _MARKS.sub(r"\\\1", shorten(text, _MOST_CHARS).replace("&", "&amp;"))


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table, line by line."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for entry in body:
        yield f"| {' | '.join(cell(text) for text in entry)} |"


def fenced(language: str, text: str) -> Iterator[str]:
    """A code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield text.rstrip("\n")
    yield fence
