"""Text and JSON for people and programs: results on stdout, errors on stderr.

Names and texts come from servers, models and other people: what would steer a terminal (escape sequences,
controls, marks that turn the direction of writing) is shown as U+FFFD, and escaped in JSON.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.cli.errors import ApiError, CliError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


# C0 but for tab and line feed, DEL, C1, half characters, and the marks of direction (UAX 9).
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def console(*, stderr: bool = False) -> "Console":
    """Return a console on the current stdout or stderr; plain where that is no terminal."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Plain(Console):
        """Lets rich's own controls through, and none that a text holds."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for part in super().render(renderable, options):
                yield part if part.control else Segment(visible(part.text), part.style)

    made = Plain(file=sys.stderr if stderr else sys.stdout, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = 160  # a pipe or a log has no width; 80 would cut ids and sentences
    return made


def visible(text: str) -> str:
    """``text`` without what would steer a terminal; line ends and tabs stay."""
    return _STEERING.sub("\ufffd", text)


def say(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print text that may hold what a server or another person wrote."""
    (sys.stderr if err else sys.stdout).write(visible(text) + ("\n" if nl else ""))


def one_line(text: str) -> str:
    """``visible``, on one line: a name with a line end must not look like two lines of ours."""
    return visible(" ".join(text.splitlines()))


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON text in UTF-8 characters, but for those that would steer a terminal."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON, indented, in UTF-8 characters."""
    sys.stdout.write(dumps(value, indent=2) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> "Table":
    """Return a table; the last ``right`` columns hold numbers, set flush right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=escape(title) or None, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(escape(column), justify="right" if number >= len(columns) - right else "left")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    return made


def print_error(error: CliError, *, as_json: bool, source: tuple[str, str] | None = None) -> None:
    """Print ``error`` on stderr; ``source`` is (file name, its text) for errors that have a place."""
    if as_json:
        sys.stderr.write(dumps(error.problem(), indent=2) + "\n")
        return
    places = error.places if isinstance(error, ApiError) else []
    # the orchestrator's message repeats the first place, which is shown better below
    lines = [f"error: {source[0]} is not valid" if places and source else f"error: {error.message}"]
    lines += [text for place in places for text in describe_place(place, source)]
    if error.remedy:
        lines.append(error.remedy)
    sys.stderr.write(visible("\n".join(lines)) + "\n")


def describe_place(place: Mapping[str, Any], source: tuple[str, str] | None) -> list[str]:
    """Return ``file:line:column: path: message``, then the offending line and a caret under it."""
    name, text = source or ("", "")
    line, column = place.get("line"), place.get("column")
    where = ":".join(str(part) for part in (name, line, column) if part)
    parts = [part for part in (where, place.get("path"), place.get("message")) if part]
    described = [": ".join(str(part) for part in parts)]
    document = text.splitlines()
    if isinstance(line, int) and 1 <= line <= len(document):
        described.append(f"    {document[line - 1]}")
        if isinstance(column, int) and column >= 1:
            described.append("    " + " " * (column - 1) + "^")
    return described
