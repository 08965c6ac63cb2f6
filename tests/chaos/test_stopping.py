"""SIGTERM ends the orchestrator whatever its databases do."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.chaos.test_orchestrator_kill import System, free_port, until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.chaos


def test_sigterm_while_the_database_never_answered_ends_the_process_at_once(tmp_path: Path) -> None:
    prefix = "VALIGN_ORCHESTRATOR_"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(prefix)} | {
        f"{prefix}HOME": str(tmp_path),
        f"{prefix}PORT": str(free_port()),
        f"{prefix}HTTP_PORT": str(free_port()),
        f"{prefix}DATABASE_URL": f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.orchestrator"], cwd=ROOT, env=environment, stderr=output
        )
    try:
        until(lambda: "database.waiting" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()


def test_sigterm_while_the_workflows_are_locked_ends_the_process(tmp_path: Path) -> None:
    # Nothing listens there: the run waits for services, and what it records meets the lock.
    system = System(tmp_path, free_port(), free_port())
    system.start()
    # It serves before it leads, and begins its workflows as it begins to lead.
    until(lambda: "valign_orchestrator_leader 1.0" in httpx.get(f"{system.url}/metrics").text)
    holder = sqlite3.connect(tmp_path / "workflows.db", isolation_level=None, timeout=30)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        system.create_run()
        time.sleep(3)
        assert system.terminate(90) == 0
    finally:
        holder.execute("ROLLBACK")
        holder.close()
        system.kill()
