"""Text and JSON for people and programs: results on stdout, errors on stderr."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.cli.errors import ApiError, CliError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(*, stderr: bool = False) -> "Console":
    """Return a console on the current stdout or stderr; plain where that is no terminal."""
    from rich.console import Console

    made = Console(file=sys.stderr if stderr else sys.stdout, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = 160  # a pipe or a log has no width; 80 would cut ids and sentences
    return made


def print_json(value: Any) -> None:
    """Print ``value`` as JSON, indented, in UTF-8 characters."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: int = 0) -> "Table":
    """Return a table; the last ``right`` columns hold numbers, set flush right."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number >= len(columns) - right else "left")
    for row in rows:
        made.add_row(*(escape(cell) for cell in row))
    return made


def print_error(error: CliError, *, as_json: bool, source: tuple[str, str] | None = None) -> None:
    """Print ``error`` on stderr; ``source`` is (file name, its text) for errors that have a place."""
    if as_json:
        sys.stderr.write(json.dumps(error.problem(), indent=2, ensure_ascii=False) + "\n")
        return
    places = error.places if isinstance(error, ApiError) else []
    # the orchestrator's message repeats the first place, which is shown better below
    lines = [f"error: {source[0]} is not valid" if places and source else f"error: {error.message}"]
    lines += [text for place in places for text in describe_place(place, source)]
    if error.remedy:
        lines.append(error.remedy)
    sys.stderr.write("\n".join(lines) + "\n")


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
