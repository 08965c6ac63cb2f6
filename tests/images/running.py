"""Starts what was built: with the image's environment alone, as its user, on a read-only file system."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.images.building import USER, Built

# In a mount namespace of its own: the volumes stay open, then the root is closed.
_CLOSED = """
set -eu
for volume in "$1/var/lib/valign" "$1/tmp"; do mount --bind "$volume" "$volume"; done
mount -o remount,bind,ro /
mount -t tmpfs -o "size=$2" tmpfs /dev/shm
cd "$1/var/lib/valign"
shift 2
exec "$@"
"""


def can_close_the_root() -> bool:
    """Whether this process may make a mount namespace and close its root; else permissions alone hold."""
    if os.geteuid() != 0:
        return False
    command = ["unshare", "--mount", "sh", "-c", "mount -o remount,bind,ro / && ! touch /etc/.closed"]
    return subprocess.run(command, capture_output=True).returncode == 0


def command_of(built: Built, settings: Mapping[str, str], entrypoint: list[str]) -> list[str]:
    """The command line that starts ``entrypoint`` as the image would."""
    variables = [f"{name}={value}" for name, value in {**built.environment, **settings}.items()]
    command = ["env", "-i", *variables, *entrypoint]
    if os.geteuid() == 0:
        user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
        command = ["setpriv", *user, "--bounding-set=-all", *command]
    if can_close_the_root():
        # Container engines give 64 MiB; the guide says to give the generator more.
        shared = "1g" if built.entrypoint[-1] == "services.generator" else "64m"
        command = ["unshare", "--mount", "sh", "-c", _CLOSED, "sh", str(built.root), shared, *command]
    return command


class Service:
    """A started image."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, probe: Callable[[], str], seconds: float) -> None:
        """Wait for an empty answer of ``probe``. AssertionError with the log if it ends or time is over."""
        end = time.monotonic() + seconds
        while (said := probe()) != "":
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.log[-4000:]}"
            assert time.monotonic() < end, f"after {seconds} s: {said}\n{self.log[-4000:]}"
            time.sleep(0.2)

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def started(built: Built, settings: Mapping[str, str]) -> Iterator[Service]:
    """The image's entry point with these settings; killed at the end if it still runs."""
    log = built.root / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command_of(built, settings, built.entrypoint),
            cwd=built.root / "var/lib/valign",
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Service(process, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run_python(built: Built, code: str) -> str:
    """What ``python -c code`` prints in the image."""
    command = command_of(built, {}, ["python", "-c", code])
    place = built.root / "var/lib/valign"
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
