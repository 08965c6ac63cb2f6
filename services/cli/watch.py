"""Following a run to its end, over lost connections."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from services.cli.api import Api, Json
from services.cli.display import LiveDisplay, PlainDisplay
from services.cli.errors import UnreachableError
from services.cli.output import console
from services.cli.progress import RunState

# A restarting orchestrator is back within seconds; five minutes without it is a person's matter.
GIVE_UP_AFTER_S = 300.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


class Display(Protocol):
    """Where events are shown."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def event(self, event: Mapping[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...


def display_for(state: RunState) -> Display:
    """Return a live display on a terminal, plain lines elsewhere."""
    screen = console()
    return LiveDisplay(screen, state) if sys.stdout.isatty() else PlainDisplay(screen)


def follow(
    api: Api,
    state: RunState,
    on_event: Callable[[Json], None],
    on_note: Callable[[str], None],
    *,
    give_up_after_s: float = GIVE_UP_AFTER_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Json:
    """Read a run's events until it has ended, and return the run.

    A lost connection is taken up after the last event that was seen. Raises
    ``UnreachableError`` if nothing answers for ``give_up_after_s``; the run itself goes on.
    """
    pause_s, lost_at_s = FIRST_PAUSE_S, None
    while True:
        try:
            for event in api.events(state.run_id, state.last_number):
                if lost_at_s is not None:
                    on_note("connected again")
                pause_s, lost_at_s = FIRST_PAUSE_S, None
                state.apply(event)
                on_event(event)
            # The stream has ended: the run did, or the server stops.
            run = api.run(state.run_id)
            if run["status"] in ("succeeded", "failed", "cancelled"):
                return run
        except UnreachableError as error:
            now_s = time.monotonic()
            if lost_at_s is None:
                lost_at_s = now_s
                on_note(f"connection lost ({error.message}); trying again")
            if now_s - lost_at_s >= give_up_after_s:
                raise
        sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
