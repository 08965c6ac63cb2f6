"""Real processes that can be killed and started again on the same ports and folders."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
Found = TypeVar("Found")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Found], timeout_s: float, what: str) -> Found:
    """The first true value of ``condition``; AssertionError if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.03)
    raise AssertionError(f"{what}: not within {timeout_s:g} s")


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of ours, and with these."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VALIGN_")}
    # One thread a library: many processes share few cores.
    return inherited | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | more


def serving(port: int) -> bool:
    """True if ``grpc.health.v1`` says SERVING."""
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def ready(http_port: int) -> bool:
    """True if the orchestrator's REST API says that it is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{http_port}/readyz", timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False


@dataclass
class Service:
    """One of the four services as a process: what starts it, and when it is there."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ``wait_ready`` says when it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=ROOT,
                env=clean_environment(**self.environment),
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, timeout_s: float = 240) -> None:
        """Wait until it serves; AssertionError, with the end of its log, if it ends or does not."""

        def there() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text()[-3000:]}"
            return self.is_ready()

        until(there, timeout_s, f"{self.name} serves")

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has it buried."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, whatever its state."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def answer_of(response: httpx.Response) -> Any:
    """The JSON of a successful answer; AssertionError with its text otherwise."""
    assert response.is_success, f"{response.request.url}: {response.status_code} {response.text[:500]}"
    return response.json()
