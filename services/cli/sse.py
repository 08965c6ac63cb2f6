"""Server-sent events, as the HTML standard section 9.2.6 defines the stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event. ``id`` is the last id seen, which reconnecting sends back."""

    event: str
    data: str
    id: str


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
