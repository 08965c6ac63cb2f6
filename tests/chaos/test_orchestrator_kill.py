"""kill -9 of a real orchestrator process, in generation and in training: the run goes on and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.orchestrator.store.sql import SqlRunStore
from tests.fakes.studies import other_set, study_json

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.chaos


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@dataclass
class System:
    """Fake services in one process, the orchestrator in another."""

    folder: Path
    fakes_port: int
    http_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start the orchestrator and wait until it is ready."""
        target = f"127.0.0.1:{self.fakes_port}"
        prefix = "VALIGN_ORCHESTRATOR_"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
        environment |= {
            f"{prefix}HOME": str(self.folder),
            f"{prefix}PORT": str(free_port()),
            f"{prefix}HTTP_PORT": str(self.http_port),
            f"{prefix}GENERATOR_TARGET": target,
            f"{prefix}EMBEDDER_TARGET": target,
            f"{prefix}TRAINER_TARGET": target,
            f"{prefix}WAIT_FOR_SERVICES_S": "30",
        }
        with (self.folder / "orchestrator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.orchestrator"], cwd=ROOT, env=environment, stderr=log
            )
        until(self.ready)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "orchestrator.log").read_text()
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 40) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def create_run(self, **changes: Any) -> str:
        answer = httpx.post(f"{self.url}/v1/runs", json=study_json(**changes), timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        data: dict[str, Any] = httpx.get(f"{self.url}/v1/runs/{run_id}", timeout=30).json()
        return data

    def ended(self, run_id: str) -> dict[str, Any]:
        run = self.run(run_id)
        return run if run["status"] in ("succeeded", "failed", "cancelled") else {}

    def asked(self) -> list[str]:
        file = self.folder / "asked.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def trainer(self) -> dict[str, int]:
        data: dict[str, int] = json.loads((self.folder / "trainer.json").read_text())
        return data

    def stored(self, run_id: str) -> set[str]:
        """Keys of the stored completions, as the generator was asked for them."""
        store = SqlRunStore(f"sqlite:///{self.folder}/orchestrator.db")
        try:
            stage = {"original": "P1", "aligned": "P2", "base_reference": "PR", "aligned_other": "PO"}
            return {
                f"{record.adapter or 'base'}|{stage.get(record.arm, 'P3')}"
                f"|{record.topic_id}/{record.index}/{record.draw}"
                for record in store.completions(run_id)
            }
        finally:
            store.close()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    fakes = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.fake_services", str(tmp_path), "0.05", "0.2"], cwd=ROOT
    )
    found: System | None = None
    try:
        port_file = tmp_path / "port"
        until(lambda: port_file.exists() and port_file.read_text())
        found = System(tmp_path, int(port_file.read_text()), free_port())
        found.start()
        yield found
    finally:
        for process in (fakes, found.process if found else None):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def test_kill_in_generation_run_resumes_and_asks_for_no_finished_draw(system: System) -> None:
    run_id = system.create_run()
    until(lambda: len(system.asked()) > 25)
    system.kill()
    time.sleep(0.5)
    stored, before = system.stored(run_id), len(system.asked())
    assert len(stored) > 5
    system.start()
    run = until(lambda: system.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    again = set(system.asked()[before:])
    assert again.isdisjoint(stored)
    report = httpx.get(f"{system.url}/v1/runs/{run_id}/report", timeout=30).json()
    assert report["best_iteration"] == 2
    page = httpx.get(f"{system.url}/v1/runs/{run_id}/report.html", timeout=30)
    assert page.text.lstrip().lower().startswith("<!doctype html")
    kinds = Counter(event["kind"] for event in events(system, run_id))
    assert kinds["run.started"] == 1
    assert kinds["run.succeeded"] == 1


def test_kill_in_training_run_attaches_to_the_job(system: System) -> None:
    run_id = system.create_run(principles=5)
    until(lambda: system.trainer()["jobs"] == 1)
    asked = len(system.asked())
    system.kill()
    system.start()
    run = until(lambda: system.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    assert system.trainer() == {"starts": 3, "attached": 1, "jobs": 2}
    # Nothing of what came before the training was asked for again.
    drawn = Counter(key for key in system.asked() if "|score|" not in key)
    assert max(drawn.values()) == 1
    assert len(system.asked()) > asked


def test_kill_in_controls_run_attaches_and_draws_nothing_again(system: System) -> None:
    arms = {"training_seeds": 1, "controls": ["shuffled", "other"], "other_reference_set": other_set()}
    run_id = system.create_run(principles=6, iterations=1, arms=arms)
    until(lambda: system.trainer()["jobs"] == 2)
    system.kill()
    stored = system.stored(run_id)
    assert any("|PO|" in key for key in stored)
    before = len(system.asked())
    system.start()
    run = until(lambda: system.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    assert system.trainer() == {"starts": 4, "attached": 1, "jobs": 3}
    assert set(system.asked()[before:]).isdisjoint(stored)
    report = httpx.get(f"{system.url}/v1/runs/{run_id}/report", timeout=30).json()
    assert report["analysis"]["verdict"]["decision"] in ("promote", "hold", "reject")
    kinds = Counter(event["kind"] for event in events(system, run_id))
    assert kinds["verdict.reached"] == 1


def test_kill_in_the_verdict_run_reaches_the_same_one_again(system: System) -> None:
    run_id = system.create_run(principles=6, iterations=1)

    def in_verdict() -> bool:
        return system.run(run_id)["stage"] == "verdict"

    until(in_verdict)
    system.kill()
    asked = len(system.asked())
    system.start()
    run = until(lambda: system.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    assert len(system.asked()) == asked
    report = httpx.get(f"{system.url}/v1/runs/{run_id}/report", timeout=30).json()
    assert report["analysis"]["verdict"]


def test_terminate_in_generation_process_ends_cleanly_and_run_goes_on(system: System) -> None:
    run_id = system.create_run(principles=5, iterations=1)
    until(lambda: len(system.asked()) > 5)
    assert system.terminate() == 0
    system.start()
    assert system.run(run_id)["status"] == "running"
    assert until(lambda: system.ended(run_id), 120)["status"] == "succeeded"
    assert "Traceback" not in (system.folder / "orchestrator.log").read_text()


def events(system: System, run_id: str) -> list[dict[str, Any]]:
    found = []
    with httpx.stream("GET", f"{system.url}/v1/runs/{run_id}/events", timeout=30) as stream:
        kind = ""
        for line in stream.iter_lines():
            if line.startswith("event:"):
                kind = line.partition(":")[2].strip()
            if line.startswith("data:"):
                found.append({"kind": kind, "data": json.loads(line.partition(":")[2])})
    return found
