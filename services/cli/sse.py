"""Server-sent events, as the HTML standard section 9.2.6 defines the stream."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event. ``id`` is the last id seen, which reconnecting sends back."""

    event: str
    data: str
    id: str


def split_lines(chunks: Iterable[str]) -> Iterator[str]:
    """Lines of a stream, without their ends: line feed, carriage return, or both.

    Not ``str.splitlines``: to the standard the other line separators (U+2028, U+0085 …) are text, and
    JSON may hold them as they are.
    """
    held = ""
    for chunk in chunks:
        # A carriage return at the end of a chunk may be half a line end: it waits for the next.
        *lines, held = _LINE_END.split(held + chunk)
        yield from lines
    if held.endswith("\r"):
        yield held[:-1]
    elif held:
        yield held


def read_events(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """Yield the events in ``lines`` (without line ends); an unfinished last one is dropped.

    Comments, unknown fields and ``retry`` are skipped; an event without data is none.
    """
    event, data, last_id = "", list[str](), ""
    for line in lines:
        if not line:
            if data:
                yield ServerSentEvent(event or "message", "\n".join(data), last_id)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value
