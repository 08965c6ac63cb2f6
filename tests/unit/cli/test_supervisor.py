import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.up.child import Child, ChildSpec
from services.cli.up.supervisor import ChildState, Supervisor

SLEEP = "import time; print('up', flush=True); time.sleep(60)"


def spec(folder: Path, code: str, name: str = "generator") -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-u", "-c", code), dict(os.environ), folder / f"{name}.log")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []

    def make(*children: tuple[ChildSpec, Callable[[], str]]) -> Supervisor:
        made.append(Supervisor(children, stop_timeout_s=5.0, first_backoff_s=0.05))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def test_tick_child_that_answers_is_serving(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    answers = iter(["loading", "", ""])
    supervisor = supervise((spec(tmp_path, SLEEP), lambda: next(answers)))
    supervisor.start()
    supervisor.tick()
    assert not supervisor.ready
    assert supervisor.children[0].detail == "loading"
    supervisor.tick()
    assert supervisor.ready


def test_tick_child_that_stops_answering_is_not_serving(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    answers = iter(["", "loading"])
    supervisor = supervise((spec(tmp_path, SLEEP), lambda: next(answers)))
    supervisor.start()
    supervisor.tick()
    supervisor.tick()
    assert supervisor.children[0].state is ChildState.NOT_SERVING
    assert not supervisor.ready


def test_tick_killed_child_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise((spec(tmp_path, SLEEP), lambda: ""))
    supervisor.start()
    supervisor.tick()
    one = supervisor.children[0]
    first = one.child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: (supervisor.tick(), one.state is ChildState.RESTARTING)[1])
    assert "signal 9" in one.detail
    wait_for(lambda: (supervisor.tick(), supervisor.ready)[1])
    assert one.child.pid != first
    assert one.restarts == 1


def test_tick_child_that_ends_again_and_again_waits_longer_each_time(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = supervise((spec(tmp_path, "raise SystemExit(1)"), lambda: "loading"))
    supervisor.start()
    one = supervisor.children[0]
    one.was_ready = True  # it has served before: never given up
    waits: list[float] = []
    while len(waits) < 4:
        before = one.crashes
        supervisor.tick()
        if one.crashes > before:
            waits.append(one.restart_at_s - time.monotonic())
        time.sleep(0.01)
    assert waits == pytest.approx([0.05, 0.1, 0.2, 0.4], abs=0.02)


def test_tick_child_that_never_serves_fails_with_the_end_of_its_log(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = supervise((spec(tmp_path, "raise SystemExit('no such model')"), lambda: "loading"))
    supervisor.start()
    with pytest.raises(CliError, match="no such model"):
        wait_for(supervisor.tick)
    assert supervisor.children[0].crashes == 3


def test_tick_child_with_bad_settings_is_not_tried_again(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    supervisor = supervise((spec(tmp_path, "raise SystemExit(2)"), lambda: "loading"))
    supervisor.start()
    with pytest.raises(CliError, match="status 2"):
        wait_for(supervisor.tick)
    assert supervisor.children[0].crashes == 1


def test_stop_lets_a_child_end_in_order(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    code = "import signal; print('up', flush=True); signal.sigwait([15]); print('drained', flush=True)"
    code = code.replace("print('up'", "signal.pthread_sigmask(0, [15]); print('up'")
    supervisor = supervise((spec(tmp_path, code), lambda: ""))
    supervisor.start()
    wait_for(lambda: "up" in supervisor.children[0].child.log_tail())
    supervisor.stop()
    assert "drained" in supervisor.children[0].child.log_tail()
    assert supervisor.children[0].state is ChildState.STOPPED


def test_stop_kills_what_does_not_end_and_what_it_has_started(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN);"
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(worker.pid, flush=True); worker.wait()"
    )
    supervisor = Supervisor([(spec(tmp_path, code), lambda: "")], stop_timeout_s=0.3)
    supervisor.start()
    child = supervisor.children[0].child
    wait_for(lambda: child.log_tail().strip())
    worker = int(child.log_tail().split()[0])
    supervisor.stop()
    assert child.exit_status() == -signal.SIGKILL
    wait_for(lambda: not alive(worker))


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from services.cli.up.child import Child, ChildSpec;"
        f"command, log = (sys.executable, '-c', {SLEEP!r}), Path({str(tmp_path / 'x.log')!r});"
        "c = Child(ChildSpec('x', command, dict(os.environ), log));"
        "c.start(); print(c.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not alive(pid))


def test_log_tail_without_a_log_is_empty(tmp_path: Path) -> None:
    assert Child(spec(tmp_path, SLEEP)).log_tail() == ""
