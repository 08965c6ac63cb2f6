"""Which TCP ports are free on this machine, and which process holds one that is not."""

import socket
from collections.abc import Iterable
from pathlib import Path

LISTENING = "0A"  # net/tcp_states.h


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen on ``host:port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(host: str, count: int) -> list[int]:
    """Return ``count`` different ports that are free now."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def holder(port: int) -> str:
    """Return ``process NAME (pid N)`` for the process that listens on ``port``, or "" if unknown.

    Other users' processes can't be seen without their rights.
    """
    inodes = set(_listening_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [_target(link) for link in (process / "fd").iterdir()]
            name = (process / "comm").read_text().strip()
        except OSError:
            continue  # it has ended, or is another user's
        if any(link in inodes for link in links):
            return f"process {name} (pid {process.name})"
    return ""


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""  # closed since it was listed


def _listening_inodes(port: int) -> Iterable[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"
