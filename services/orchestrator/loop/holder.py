"""Who this process is to others that campaign for the same lease, and whether one of them is dead.

A process of the same machine can be looked up: a lease whose holder is gone is free at once, so that an
orchestrator that was killed and started again need not wait. Of a process elsewhere nothing can be known but
whether its lease still moves.
"""

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_GONE = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process: its machine, the boot of it, the namespace that its number counts in, and when it began
    (clock ticks since the boot)."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    start_ticks: str

    @classmethod
    def of_this_process(cls) -> Self:
        """This one. Without /proc it is told apart from every other by chance, and never looked up."""
        pid = os.getpid()
        try:
            boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
            namespace = str((_PROC / "self/ns/pid").stat().st_ino)
            start = _start_ticks(pid) or ""
        except OSError:
            boot_id, namespace, start = uuid.uuid4().hex, "", ""
        return cls(socket.gethostname()[:64].replace("|", "-"), boot_id, namespace, pid, start)

    def __str__(self) -> str:
        return f"{self.host}|{self.boot_id}|{self.pid_namespace}|{self.pid}|{self.start_ticks}"

    def may_replace(self, holder: str) -> bool:
        """True if the lease's holder is this very process, or one of this machine that has ended."""
        if holder == str(self):
            return True
        host, _, rest = holder.partition("|")
        boot_id, namespace, pid, start = [*rest.split("|"), "", "", "", ""][:4]
        if not start or (host, boot_id, namespace) != (self.host, self.boot_id, self.pid_namespace):
            return False
        try:
            ended = pid.isdigit() and _start_ticks(int(pid)) != start
        except PermissionError:
            # Another user's process, which may be alive: its lease runs out, or it does not.
            return False
        # Where processes of others are hidden (hidepid), one that is not seen may live.
        return ended and (_PROC / "1").exists()


def _start_ticks(pid: int) -> str | None:
    """Field 22 of the process's stat; None if there is no such process, or only its remains."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name of the program is in brackets and may have any character.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _GONE else fields[19]
