"""A run's events as server-sent events (HTML standard, section 9.2)."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent

from services.common.errors import InvalidInputError
from services.orchestrator.api.models import Event
from services.orchestrator.application import Application

HEARTBEAT_S = 10
_RETRY_MS = 1000
_HIGHEST_NUMBER = 2**63 - 1


def event_number(text: str) -> int:
    """The number in a ``Last-Event-ID``; 0 for none."""
    if not text:
        return 0
    # Not str.isdigit: that takes digits of any script.
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _HIGHEST_NUMBER:
        raise InvalidInputError(f"Last-Event-ID must be the number of an event, not {text[:80]!r}")
    return int(text)


def event_stream(application: Application, run_id: str, after: int) -> EventSourceResponse:
    """The events above ``after`` until the run has ended; a comment every few seconds in between."""
    return EventSourceResponse(
        _events(application, run_id, after), ping=HEARTBEAT_S, sep="\n", send_timeout=60
    )


async def _events(application: Application, run_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    retry: int | None = _RETRY_MS
    async for event in application.watch(run_id, after):
        yield ServerSentEvent(
            Event.of(event).model_dump_json(), event=event.kind, id=str(event.number), retry=retry
        )
        retry = None
