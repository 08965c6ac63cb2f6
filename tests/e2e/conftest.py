"""The whole system as a user starts it: `valign up` with real models, once for the folder's tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.cli.up.child import Child, ChildSpec

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class System:
    """Four running services."""

    url: str
    generator: str
    home: Path

    def valign(self, *arguments: str, timeout_s: float = 900.0) -> subprocess.CompletedProcess[str]:
        """Run a command against it."""
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "VALIGN_URL": self.url},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


def _state(home: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((home / "up.json").read_text())
    except FileNotFoundError:
        return {"status": "none", "services": {}}
    return state


@contextmanager
def running_system(model: Path, encoder: Path, home: Path, **generator: str) -> Iterator[System]:
    """`valign up` on free ports; stopped with SIGTERM, after which nothing may be left.

    `generator` are further settings of the generator.
    """
    command = [sys.executable, "-m", "services.cli", "up", "--home", str(home), "--any-ports"]
    command += ["--model", str(model), "--encoder", str(encoder)]
    settings = {f"VALIGN_GENERATOR_{name.upper()}": value for name, value in generator.items()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **settings}
    # a Child ends with this process, should somebody kill the tests
    process = Child(ChildSpec("valign up", command, environment, home / "up.log"))
    process.start()
    deadline_s = time.monotonic() + START_TIMEOUT_S
    try:
        while (state := _state(home))["status"] != "serving":
            assert process.exit_status() is None, process.log_tail(50)
            assert time.monotonic() < deadline_s, f"not serving: {state}"
            time.sleep(0.5)
        yield System(state["url"], state["services"]["generator"]["address"], home)
    finally:
        state = _state(home)
        process.terminate()
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while process.exit_status() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        status = process.exit_status()
        process.kill_group()
    assert status == 0, process.log_tail(50)
    left = [one["pid"] for one in state["services"].values() if Path(f"/proc/{one['pid']}").exists()]
    assert not left, f"still running after valign up has stopped: {left}"


@pytest.fixture(scope="session")
def system(smollm2: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system with SmolLM2 for all tests that want one."""
    home = tmp_path_factory.mktemp("home")
    with running_system(smollm2, minilm, home, max_model_len="1024") as running:
        yield running
