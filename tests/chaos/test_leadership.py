"""Two orchestrators on one database, SQLite or PostgreSQL: the leader is killed, stopped, or only joined."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.orchestrator.store.sql import SqlRunStore
from tests.chaos.test_orchestrator_kill import ROOT, free_port, until
from tests.fakes.studies import study_json
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

pytestmark = pytest.mark.chaos
TAKEOVER_S = 15.0


class Orchestrator:
    """One process; its log is a file of its own."""

    def __init__(self, cluster: "Cluster", name: str, **settings: str) -> None:
        prefix = "VALIGN_ORCHESTRATOR_"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(prefix)}
        self.port = free_port()
        self.log = cluster.folder / f"{name}.log"
        values = {
            "HOME": str(cluster.folder),
            "DATABASE_URL": cluster.database_url,
            "PORT": str(free_port()),
            "HTTP_PORT": str(self.port),
            "WAIT_FOR_SERVICES_S": "30",
            **{f"{service}_TARGET": cluster.target for service in ("GENERATOR", "EMBEDDER", "TRAINER")},
            **settings,
        }
        environment |= {prefix + key: value for key, value in values.items()}
        # A namespace of hosts of its own would need rights: another name makes it a stranger to the others,
        # so that none of them may look whether it is alive.
        command = [sys.executable, "-c", _STRANGER, name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def post(self, path: str, **options: Any) -> dict[str, Any]:
        answer = httpx.post(f"http://127.0.0.1:{self.port}{path}", timeout=30, **options)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def leads(self) -> bool:
        return "valign_orchestrator_leader 1.0" in self.get("/metrics").text

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/runs/{run_id}").json()
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        run = self.run(run_id)
        return run if run["status"] in ("succeeded", "failed", "cancelled") else {}


_STRANGER = """
import socket, sys
name = sys.argv[1]
socket.gethostname = lambda: name
from services.orchestrator.__main__ import main
main()
"""


class Cluster:
    """Fake services, a database, and the orchestrators that a test starts."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.database_url = folder, database_url
        self.fakes = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.fake_services", str(folder), "0.05", "0.2"], cwd=ROOT
        )
        port = folder / "port"
        until(lambda: port.exists() and port.read_text())
        self.target = f"127.0.0.1:{port.read_text()}"
        self.all: list[Orchestrator] = []

    def start(self, name: str, **settings: str) -> Orchestrator:
        self.all.append(Orchestrator(self, name, **settings))
        return self.all[-1]

    def stop(self) -> None:
        for process in (self.fakes, *(one.process for one in self.all)):
            if process.poll() is None:
                process.kill()
                process.wait()

    def asked(self) -> list[str]:
        file = self.folder / "asked.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def trainer(self) -> dict[str, int]:
        data: dict[str, int] = json.loads((self.folder / "trainer.json").read_text())
        return data

    def store(self) -> SqlRunStore:
        return SqlRunStore(self.database_url)

    def kinds(self, run_id: str) -> Counter[str]:
        with closing(self.store()) as store:
            return Counter(event.kind for event in store.events(run_id, limit=10_000))

    def stop_between_writes(self, leader: Orchestrator) -> None:
        """SIGSTOP at a moment at which it holds no lock of an SQLite file: nobody could write beside it."""
        for _ in range(50):
            leader.process.send_signal(signal.SIGSTOP)
            if not self.database_url.startswith("sqlite") or all(
                _unlocked(self.folder / name) for name in ("orchestrator.db", "workflows.db")
            ):
                return
            leader.process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        raise AssertionError("it held a lock at every look")


def _unlocked(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


@pytest.fixture(params=["sqlite", "postgresql"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    url = f"sqlite:///{tmp_path}/orchestrator.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    made = Cluster(tmp_path, url)
    try:
        yield made
    finally:
        made.stop()


def _begin(orchestrator: Orchestrator, **changes: Any) -> str:
    return str(orchestrator.post("/v1/runs", json=study_json(**changes))["run_id"])


def test_leader_killed_standby_takes_over_in_time_and_ends_the_run(cluster: Cluster) -> None:
    first = cluster.start("first")
    until(first.leads)
    second = cluster.start("second")
    run_id = _begin(second)
    until(lambda: len(cluster.asked()) > 25)
    # On a machine that is busy for seconds the lease may have changed hands by itself.
    leader, standby = (first, second) if first.leads() else (second, first)
    assert not standby.leads()
    leader.process.kill()
    leader.process.wait()
    killed_s = time.monotonic()
    until(standby.leads, TAKEOVER_S + 5)
    taken_s = time.monotonic() - killed_s
    print(f"takeover after {taken_s:.1f} s on {cluster.database_url.partition(':')[0]}")
    assert taken_s < TAKEOVER_S
    with closing(cluster.store()) as store:
        stored = len(store.completions(run_id))
    assert stored
    run = until(lambda: standby.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    kinds = cluster.kinds(run_id)
    assert (kinds["run.started"], kinds["run.succeeded"], kinds["run.failed"]) == (1, 1, 0)
    # Only what was in flight at the kill (the fake answers two at a time) is asked for again.
    drawn = Counter(key for key in cluster.asked() if "|score|" not in key)
    assert max(drawn.values()) <= 2


def test_leader_stopped_writes_nothing_after_it_goes_on(cluster: Cluster) -> None:
    first = cluster.start("first")
    until(first.leads)
    run_id = _begin(first)
    second = cluster.start("second")
    until(lambda: len(cluster.asked()) > 25)
    cluster.stop_between_writes(first)
    until(second.leads, TAKEOVER_S + 5)
    time.sleep(1)
    first.process.send_signal(signal.SIGCONT)
    run = until(lambda: second.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    until(lambda: not first.leads(), 15)
    assert first.run(run_id)["status"] == "succeeded"
    kinds = cluster.kinds(run_id)
    assert (kinds["run.started"], kinds["run.succeeded"], kinds["run.failed"]) == (1, 1, 0)
    for stage in ("uncover", "quantify", "verdict", "report"):
        with closing(cluster.store()) as store:
            ended = [e for e in store.events(run_id, limit=10_000) if e.kind == "stage.ended"]
        assert sum(event.data["stage"] == stage for event in ended) == 1
    drawn = Counter(key for key in cluster.asked() if "|score|" not in key)
    assert max(drawn.values()) <= 2
    assert cluster.trainer()["jobs"] == 2


def test_api_replica_enqueues_and_steers_what_the_leader_runs(cluster: Cluster) -> None:
    replica = cluster.start("replica", ROLE="api")
    run_id = _begin(replica, principles=5, iterations=1)
    time.sleep(1)
    assert replica.run(run_id)["status"] == "queued"
    leader = cluster.start("leader")
    until(lambda: len(cluster.asked()) > 3)
    assert leader.leads()
    assert not replica.leads()
    assert replica.post(f"/v1/runs/{run_id}/pause")["pause_requested"]
    until(lambda: replica.run(run_id)["status"] == "paused")
    assert [step["name"] for step in replica.get(f"/v1/runs/{run_id}/steps").json()["steps"]]
    replica.post(f"/v1/runs/{run_id}/resume")
    run = until(lambda: replica.ended(run_id), 120)
    assert run["status"] == "succeeded", run
    again = replica.post(f"/v1/runs/{run_id}/retry", params={"from_step": "verdict"})
    assert again["attempt"] == 2
    run = until(lambda: replica.ended(run_id), 120)
    assert (run["status"], run["attempt"]) == ("succeeded", 2), run
    assert "Traceback" not in replica.log.read_text() + leader.log.read_text()
