"""The engine's process does not outlive a service that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Starts a process as the service and vLLM start the engine: spawned from a thread of ``python -m <package>``.
_SERVICE = """
import multiprocessing, sys, threading, time
from services.generator.child import run_in_children
from service.engine import engine

if __name__ == "__main__":
    if sys.argv[1] == "guarded":
        run_in_children()
    process = multiprocessing.get_context("spawn").Process(target=engine)
    thread = threading.Thread(target=lambda: (process.start(), time.sleep(60)))
    thread.start()
    thread.join()
"""
_ENGINE = """
import os, time

def engine():
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("guarded", [True, False])
def test_engine_process_of_a_killed_service_is_gone(tmp_path: Path, guarded: bool) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__main__.py").write_text(_SERVICE)
    (tmp_path / "service" / "engine.py").write_text(_ENGINE)
    service = subprocess.Popen(
        [sys.executable, "-m", "service", "guarded" if guarded else "free"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    engine = int(service.stdout.readline())
    try:
        assert _alive(engine)
        service.kill()
        service.wait()
        deadline = time.monotonic() + (5 if guarded else 0.5)
        while _alive(engine) and time.monotonic() < deadline:
            time.sleep(0.02)
        # Without the guard it stays: the test can fail.
        assert _alive(engine) is not guarded
    finally:
        if _alive(engine):
            os.kill(engine, signal.SIGKILL)
        service.stdout.close()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
