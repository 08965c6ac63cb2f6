"""The life of one ``valign up``: start, wait until all serve, watch over them, stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.cli.display import duration
from services.cli.errors import CliError
from services.cli.output import console, table
from services.cli.settings import DEFAULT_URL
from services.cli.up.home import Home
from services.cli.up.plan import UpPlan
from services.cli.up.supervisor import ChildState, Supervised, Supervisor

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TICK_S = 0.5
# Watching over what serves takes a core's time from it: look less often.
SERVING_TICK_S = 2.0


class _StopSignalError(Exception):
    """SIGTERM, SIGHUP or Ctrl-C asked for an orderly stop."""


def run_up(home: Home, plan: UpPlan) -> None:
    """Run the services until a signal comes. The caller holds the home's lock.

    Raises ``CliError`` when one can't be brought up; whatever happens, nothing stays behind.
    """
    supervisor = Supervisor([(service.spec, service.probe) for service in plan.services])
    screen = console()
    previous = {number: signal.signal(number, _raise_stop) for number in _STOPPING}
    try:
        supervisor.start()
        _wait_until_ready(home, plan, supervisor, screen)
        screen.print(_where(plan), soft_wrap=True)
        if plan.url and plan.url != DEFAULT_URL:
            screen.print(
                f"for the other commands: export VALIGN_URL={plan.url}", markup=False, soft_wrap=True
            )
        if plan.model_url:
            screen.print(f"ask the model: {plan.model_url} (OpenAI's API)", markup=False, soft_wrap=True)
        screen.print(f"logs in {home.logs}; Ctrl-C stops all.", markup=False, soft_wrap=True)
        _watch_over(home, plan, supervisor, screen)
    except _StopSignalError:
        screen.print("stopping ...")
    finally:
        # A second Ctrl-C must not interrupt the stop and leave orphans: it kills at once instead.
        for number in _STOPPING:
            signal.signal(number, lambda *_: supervisor.kill())
        supervisor.stop()
        _write_state(home, plan, supervisor, "stopped")
        for number, handler in previous.items():
            signal.signal(number, handler)
    screen.print("stopped.")


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _raise_stop(*_: object) -> None:
    # Ignored from here on until the stop has begun: a second raise would skip it.
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise _StopSignalError


def _wait_until_ready(home: Home, plan: UpPlan, supervisor: Supervisor, screen: "Console") -> None:
    from rich.live import Live

    begun_s = time.monotonic()
    if not screen.is_terminal:
        shown: dict[str, str] = {}
        while not supervisor.ready:
            _tick(home, plan, supervisor, "starting")
            for one in supervisor.children:
                # The wait of a backoff is news each time, a different reason to wait is not.
                if shown.get(one.name) != one.state:
                    shown[one.name] = one.state
                    note = f" ({one.detail})" if one.state is ChildState.RESTARTING else ""
                    screen.print(f"{one.name}: {one.state}{note}", markup=False, soft_wrap=True)
        return
    with Live(console=screen, transient=True, refresh_per_second=4) as live:
        while not supervisor.ready:
            _tick(home, plan, supervisor, "starting")
            live.update(_status(supervisor.children, time.monotonic() - begun_s))


def _watch_over(home: Home, plan: UpPlan, supervisor: Supervisor, screen: "Console") -> None:
    shown = {one.name: one.state for one in supervisor.children}
    while True:
        _tick(home, plan, supervisor, "degraded")
        for one in supervisor.children:
            if shown[one.name] is not one.state:
                shown[one.name] = one.state
                note = f" ({one.detail})" if one.detail else ""
                screen.print(f"{one.name}: {one.state}{note}", markup=False, soft_wrap=True)


def _tick(home: Home, plan: UpPlan, supervisor: Supervisor, phase: str) -> None:
    supervisor.tick()
    _write_state(home, plan, supervisor, "serving" if supervisor.ready else phase)
    time.sleep(SERVING_TICK_S if supervisor.ready else TICK_S)


def _status(children: Sequence[Supervised], elapsed_s: float) -> "Table":
    colours = {ChildState.SERVING: "green", ChildState.RESTARTING: "red"}
    rows = [[one.name, str(one.state), one.detail] for one in children]
    made = table(f"starting, {duration(elapsed_s)} (loading a model takes half a minute)", ["", "", ""], rows)
    for row, one in zip(made.rows, children, strict=True):
        row.style = colours.get(one.state, "")
    return made


def _where(plan: UpPlan) -> "Table":
    rows = [
        [service.spec.name, service.address, service.metrics, str(service.spec.log)]
        for service in plan.services
    ]
    return table("serving", ["service", "address", "metrics", "log"], rows)


def _write_state(home: Home, plan: UpPlan, supervisor: Supervisor, status: str) -> None:
    services = {
        one.name: {
            "pid": one.child.pid,
            "state": str(one.state),
            "detail": one.detail,
            "restarts": one.restarts,
            "address": service.address,
            "metrics": service.metrics,
            "log": str(service.spec.log),
        }
        for one, service in zip(supervisor.children, plan.services, strict=True)
    }
    state = {"status": status, "pid": os.getpid(), "url": plan.url, "model_url": plan.model_url}
    home.write_state({**state, "services": services})


def start_detached(home: Home, arguments: Sequence[str], timeout_s: float) -> dict[str, object]:
    """Start ``valign up`` in the background and return its state once all serve.

    Raises ``CliError`` with the end of its log if it ends before, or needs longer than
    ``timeout_s``, in which case it is stopped.
    """
    home.logs.mkdir(parents=True, exist_ok=True)
    log = home.logs / "up.log"
    home.state_file.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "services.cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise CliError(f"valign up ended:\n{log.read_text(errors='replace').strip()}")
        state = home.read_state()
        if state and state["status"] == "serving":
            return state
        time.sleep(0.2)
    process.terminate()
    process.wait(60)
    raise CliError(f"Not all services serve after {timeout_s:.0f} s; stopped again. Logs: {home.logs}")
