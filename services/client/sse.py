"""Server-sent events, as the HTML standard section 9.2.6 defines the stream, fed chunk by chunk."""

import re
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event. ``id`` is the last id seen, which reconnecting sends back."""

    event: str
    data: str
    id: str


class EventParser:
    """Events out of the pieces of a stream; an unfinished last event is dropped.

    Lines end with line feed, carriage return, or both. Not ``str.splitlines``: to the standard the other line
    separators (U+2028, U+0085 …) are text, and JSON may hold them as they are. Comments, unknown fields and
    ``retry`` are skipped; an event without data is none.
    """

    def __init__(self) -> None:
        self._held = ""
        self._event = ""
        self._data: list[str] = []
        self._last_id = ""

    def feed(self, chunk: str) -> list[ServerSentEvent]:
        """The events that this piece completes."""
        # A carriage return at the end of a piece may be half a line end: it waits for the next.
        *lines, self._held = _LINE_END.split(self._held + chunk)
        return [event for line in lines if (event := self._line(line)) is not None]

    def end(self) -> list[ServerSentEvent]:
        """The event that the end of the stream completes, if it does."""
        held, self._held = self._held, ""
        event = self._line(held[:-1]) if held.endswith("\r") else None
        return [] if event is None else [event]

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            event, data = self._event, self._data
            self._event, self._data = "", []
            return ServerSentEvent(event or "message", "\n".join(data), self._last_id) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._last_id = value
        return None
