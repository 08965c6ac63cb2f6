"""Keeps children running: readiness, restarts with backoff, and a stop that leaves nothing behind."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.cli.errors import CliError
from services.cli.up.child import Child, ChildSpec

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0
# A child that has run this long has recovered: its next crash is a new one.
STABLE_AFTER_S = 120.0
# A child that never became ready and ended this often will not become ready.
ATTEMPTS_TO_GET_READY = 3
BAD_SETTINGS_STATUS = 2


class ChildState(StrEnum):
    """Where a child stands."""

    STARTING = "starting"
    SERVING = "serving"
    NOT_SERVING = "not serving"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(slots=True)
class Supervised:
    """A child and what its supervisor knows. ``detail`` is the last answer of its probe."""

    child: Child
    probe: Callable[[], str]
    state: ChildState = ChildState.STARTING
    detail: str = ""
    was_ready: bool = False
    served_since_start: bool = False
    crashes: int = 0
    restarts: int = 0
    restart_at_s: float = 0.0

    @property
    def name(self) -> str:
        """The service's name."""
        return self.child.spec.name


class Supervisor:
    """Runs children until it is told to stop. Call from the main thread: a child dies with the
    thread that started it."""

    def __init__(
        self,
        children: Sequence[tuple[ChildSpec, Callable[[], str]]],
        *,
        stop_timeout_s: float = 45.0,
        first_backoff_s: float = FIRST_BACKOFF_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``children`` are specs with their probe, which returns "" when serving, else why not.

        ``stop_timeout_s`` must exceed the services' own drain timeout.
        """
        self.children = [Supervised(Child(spec), probe) for spec, probe in children]
        self._stop_timeout_s = stop_timeout_s
        self._first_backoff_s = first_backoff_s
        self._clock = clock

    @property
    def ready(self) -> bool:
        """True while every child serves."""
        return all(one.state is ChildState.SERVING for one in self.children)

    def start(self) -> None:
        """Start every child."""
        for one in self.children:
            one.child.start()

    def tick(self) -> None:
        """Look at every child once: probe it, notice its end, start it again when its time has come.

        Raises ``CliError`` when a child can't be brought up, with the end of its log.
        """
        for one in self.children:
            if one.state is ChildState.RESTARTING:
                if self._clock() >= one.restart_at_s:
                    one.child.start()
                    one.restarts += 1
                    one.served_since_start = False
                    one.state = ChildState.STARTING
                continue
            status = one.child.exit_status()
            if status is not None:
                self._ended(one, status)
                continue
            one.detail = one.probe()
            if one.detail:
                one.state = ChildState.NOT_SERVING if one.served_since_start else ChildState.STARTING
                continue
            one.state, one.was_ready, one.served_since_start = ChildState.SERVING, True, True

    def stop(self) -> None:
        """Send SIGTERM to all, wait, then kill what is left, with all that it had started."""
        for one in self.children:
            one.child.terminate()
        deadline_s = self._clock() + self._stop_timeout_s
        while self._clock() < deadline_s and any(self._running(one) for one in self.children):
            time.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """Kill every child and all that it had started, at once."""
        for one in self.children:
            one.child.kill_group()
            one.state = ChildState.STOPPED

    @staticmethod
    def _running(one: Supervised) -> bool:
        return one.child.pid is not None and one.child.exit_status() is None

    def _ended(self, one: Supervised, status: int) -> None:
        one.child.kill_group()
        if self._clock() - one.child.started_at_s >= STABLE_AFTER_S:
            one.crashes = 0
        one.crashes += 1
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        if not one.was_ready and (status == BAD_SETTINGS_STATUS or one.crashes >= ATTEMPTS_TO_GET_READY):
            raise CliError(
                f"The {one.name} {how} before it served. The end of its log:\n{one.child.log_tail()}",
                remedy=f"The whole log is {one.child.spec.log}; `valign doctor` looks for common causes.",
            )
        backoff_s = min(self._first_backoff_s * 2 ** (one.crashes - 1), LONGEST_BACKOFF_S)
        one.restart_at_s = self._clock() + backoff_s
        one.state = ChildState.RESTARTING
        one.detail = f"{how}; starting again in {backoff_s:.0f} s"
