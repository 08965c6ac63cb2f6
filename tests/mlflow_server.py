"""A real MLflow server for tests, started once a session on a free port; each test has names of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

_INSTALL = "the tests need an MLflow server: pip install mlflow"
_START_S = 120.0


@dataclass
class MlflowProcess:
    """``mlflow server`` over an SQLite file, with its artifacts in a folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def uri(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            # Workers for evaluations, which nobody asks for here.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=out, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no MLflow server:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def pause(self) -> None:
        """Answer nobody, as a machine that hangs does, until ``resume``."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, and the processes that it has started."""
        if self.process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()
        self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.uri}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MlflowProcess]:
    """The server; it goes with the session. Fails, never skips, without one."""
    try:
        import flask  # noqa: F401  (the client alone has none)
        import mlflow  # noqa: F401
    except ImportError as error:
        raise AssertionError(_INSTALL) from error
    folder = Path(tempfile.mkdtemp(prefix="valign-mlflow-"))
    server = MlflowProcess(folder, _free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
