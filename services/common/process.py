"""Child processes that must not outlive the process that started them, and what processes cost."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, however it ends (Linux).

    Elsewhere, only a parent that is gone already is noticed.

    Args:
        parent: pid of the process that started this one.

    Raises:
        SystemExit: it is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(f"the process that started this one (pid {parent}) is gone")


class ProcessTree:
    """This process and all that it has started, as Linux tells them; elsewhere this process alone."""

    # Engines start their processes once and keep them.
    _LOOK_AGAIN_S = 5.0

    def __init__(self) -> None:
        self._found: tuple[int, ...] = ()
        self._found_s = -self._LOOK_AGAIN_S

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of those that live."""
        now_s = time.monotonic()
        if now_s - self._found_s >= self._LOOK_AGAIN_S:
            self._found, self._found_s = tuple(_children_of(os.getpid())), now_s
        return time.process_time() + sum(_cpu_s_of(pid) for pid in self._found)


def _children_of(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in listed.read_text().split()]
        except OSError:
            # The thread, or the process, has just ended.
            continue
        for child in children:
            yield child
            yield from _children_of(child)


def _cpu_s_of(pid: int) -> float:
    try:
        # Fields 14 and 15 of proc_pid_stat(5), in clock ticks; the name, field 2, may have spaces in it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
