"""Child processes that must not outlive the process that started them."""

import ctypes
import os
import signal
import sys

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
