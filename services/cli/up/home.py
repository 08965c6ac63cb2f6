"""The home folder of one ``valign up``: a lock, who holds it, and what runs."""

import fcntl
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from services.cli.errors import CliError


@dataclass(frozen=True, slots=True)
class Home:
    """Paths in a home folder."""

    path: Path

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """JSON: pid of the supervisor, url, and each service's state, addresses and log."""
        return self.path / "up.json"

    def acquire(self) -> TextIO:
        """Take the lock and keep it as long as the returned file is open.

        The kernel frees it with the process, however that ends. Raises ``CliError`` if another
        ``valign up`` holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self._lock_file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise CliError(
                f"Another valign up (pid {self.holder_pid()}) already runs with {self.path}.",
                remedy=f"Stop it with `valign down --home {self.path}`, or give this one its own --home.",
                code="CONFLICT",
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def holder_pid(self) -> int | None:
        """Return the pid of the ``valign up`` that holds this home, or None."""
        try:
            with self._lock_file.open("r+", encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = lock.read().strip()
                    return int(text) if text.isdigit() else None
        except FileNotFoundError:
            pass  # never used as a home
        return None

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace the state file in one step."""
        partial = self.state_file.with_suffix(".partial")
        partial.write_text(json.dumps(state, indent=2), encoding="utf-8")
        partial.replace(self.state_file)

    def read_state(self) -> dict[str, Any] | None:
        """Return the state file's content, or None if there is none."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return state

    def stop_holder(self, timeout_s: float) -> int | None:
        """Stop the ``valign up`` that holds this home and return its pid; None if none does.

        Raises ``CliError`` if it still runs after ``timeout_s``.
        """
        pid = self.holder_pid()
        if pid is None:
            return None
        os.kill(pid, signal.SIGTERM)
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.holder_pid() is None:
                return pid
            time.sleep(0.1)
        raise CliError(f"valign up (pid {pid}) still stops after {timeout_s:.0f} s.", code="TIMEOUT")

    @property
    def _lock_file(self) -> Path:
        return self.path / "up.lock"
