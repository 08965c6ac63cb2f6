"""The operations guide's recipes, run as they stand there: real orchestrator, command line and databases.

The other three services are the fakes of ``tests/fakes`` in a process of their own, so that a restart takes
seconds; ``valign up`` is told to start the orchestrator alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.studies import study_json
from tests.postgres import new_database, postgres_bin, postgres_server

__all__ = ["postgres_server"]

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "operations.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"<!-- recipe: ([a-z-]+) -->\n```bash\n(.*?)```", GUIDE, re.DOTALL))

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]


def until(condition: Callable[[], Any], timeout_s: float = 90) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@dataclass
class Installation:
    """A folder with everything in it, and the environment that the guide's reader has."""

    folder: Path
    environment: dict[str, str]
    ran: list[str] = field(default_factory=list)

    def recipe(self, name: str, **variables: str) -> str:
        """Run a block of the guide in bash; every command of it must succeed."""
        self.ran.append(name)
        script = RECIPES[name].replace("/var/backups", str(self.folder / "backups"))
        return self.bash(script, **variables)

    def bash(self, script: str, **variables: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def url(self) -> str:
        return self.environment["VALIGN_URL"]

    def create_run(self, **changes: Any) -> str:
        answer = httpx.post(f"{self.url}/v1/runs", json=study_json(**changes), timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run_id"])

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/v1{path}", timeout=30).json()
        return found

    def run(self, run_id: str) -> dict[str, Any]:
        return self.get(f"/runs/{run_id}")

    def ended(self, run_id: str) -> dict[str, Any]:
        run = self.run(run_id)
        return run if run["status"] in ("succeeded", "failed", "cancelled") else {}

    def succeed(self, run_id: str) -> None:
        run = until(lambda: self.ended(run_id))
        assert run["status"] == "succeeded", run


def _valign_command(folder: Path, port: int) -> Path:
    """``valign`` on the path, whose ``up`` starts the orchestrator alone on this test's port."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    script = bin_folder / "valign"
    script.write_text(
        "#!/usr/bin/env bash\n"
        f'export PYTHONPATH="{ROOT}"\n'
        'if [ "$1" = up ]; then shift; '
        f'exec "{sys.executable}" -m services.cli up --only orchestrator --any-ports --port {port} "$@"; fi\n'
        f'exec "{sys.executable}" -m services.cli "$@"\n'
    )
    script.chmod(0o755)
    python = bin_folder / "python"
    python.write_text(f'#!/usr/bin/env bash\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return bin_folder


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "backups").mkdir()
    fakes = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.fakes.fake_services",
            str(tmp_path),
            "0.02",
            "0.1",
            str(tmp_path / "home" / "artifacts"),
        ],
        cwd=ROOT,
    )
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VALIGN_")}
    found = Installation(tmp_path, environment)
    try:
        until(lambda: (tmp_path / "port").exists() and (tmp_path / "port").read_text())
        target = f"127.0.0.1:{(tmp_path / 'port').read_text()}"
        environment |= {
            "PATH": f"{_valign_command(tmp_path, port)}:{environment['PATH']}",
            "VALIGN_HOME": str(tmp_path / "home"),
            "VALIGN_URL": f"http://127.0.0.1:{port}",
            "VALIGN_ORCHESTRATOR_HOME": str(tmp_path / "home"),
            "VALIGN_ORCHESTRATOR_GENERATOR_TARGET": target,
            "VALIGN_ORCHESTRATOR_EMBEDDER_TARGET": target,
            "VALIGN_ORCHESTRATOR_TRAINER_TARGET": target,
            "VALIGN_ORCHESTRATOR_WAIT_FOR_SERVICES_S": "5",
        }
        found.bash("valign up --detach")
        yield found
    finally:
        subprocess.run(["bash", "-c", "valign down"], env=environment, cwd=tmp_path, timeout=90, check=False)
        fakes.send_signal(signal.SIGKILL)
        fakes.wait()


def test_backup_restore_check_and_upgrade_keep_runs_and_reports(installation: Installation) -> None:
    run_id = installation.create_run(principles=5, iterations=1)
    installation.succeed(run_id)
    report = httpx.get(f"{installation.url}/v1/runs/{run_id}/report", timeout=30).json()
    installation.recipe("backup")
    assert "unbroken" in installation.recipe("anchor")
    shown = installation.recipe("restore")
    assert "restored the backup" in shown
    assert run_id in shown
    assert httpx.get(f"{installation.url}/v1/runs/{run_id}/report", timeout=30).json() == report
    assert "at revision" in installation.recipe("upgrade")
    assert installation.run(run_id)["status"] == "succeeded"


def test_run_that_was_going_on_when_backed_up_goes_on_after_the_restore(installation: Installation) -> None:
    run_id = installation.create_run(principles=8, iterations=1)
    until(lambda: installation.run(run_id)["stage"] == "realign")
    installation.recipe("backup")
    installation.succeed(run_id)
    installation.recipe("restore")
    assert installation.run(run_id)["attempt"] == 1
    installation.succeed(run_id)


def test_lost_adapter_is_named_and_the_route_goes_to_the_base(installation: Installation) -> None:
    run_id = installation.create_run(principles=5, iterations=1)
    installation.succeed(run_id)
    installation.recipe("check")
    [name] = [one["name"] for one in installation.get("/adapters")["adapters"]]
    promoted = httpx.post(
        f"{installation.url}/v1/adapters/{name}/promote", json={"override_reason": "a drill"}, timeout=30
    )
    assert promoted.status_code == 200, promoted.text
    [adapter] = (installation.folder / "home" / "artifacts" / "adapters").glob(f"{run_id}-i1-*")
    lost = adapter / "adapter_config.json"
    lost.rename(installation.folder / "away")
    with pytest.raises(AssertionError, match=f"missing: adapter {adapter.name}"):
        installation.recipe("check")
    (installation.folder / "away").rename(lost)
    installation.recipe("check")
    assert "base" in installation.recipe("base")


def test_dead_generator_fails_the_run_and_a_retry_ends_it(installation: Installation) -> None:
    fakes_port = (installation.folder / "port").read_text()
    assert fakes_port
    run_id = installation.create_run(principles=8, iterations=1)
    until(lambda: installation.run(run_id)["stage"] == "uncover")
    installation.bash(
        "pkill -STOP -f 'tests.fakes.fake_services '\"$FOLDER\"", FOLDER=str(installation.folder)
    )
    try:
        run = until(lambda: installation.ended(run_id), 150)
    finally:
        installation.bash(
            "pkill -CONT -f 'tests.fakes.fake_services '\"$FOLDER\"", FOLDER=str(installation.folder)
        )
    assert run["status"] == "failed"
    assert run["error"]["code"] in ("NOT_READY", "TIMEOUT")
    installation.recipe("retry", RUN=run_id)
    assert installation.run(run_id)["status"] == "succeeded"
    assert installation.run(run_id)["attempt"] == 2


def test_stuck_run_is_shown_paused_and_resumed(installation: Installation) -> None:
    run_id = installation.create_run(principles=8, iterations=4)
    until(lambda: installation.run(run_id)["stage"] == "realign")
    assert "uncover_originals" in installation.recipe("stuck", RUN=run_id)
    installation.recipe("pause", RUN=run_id)
    installation.succeed(run_id)


def test_keys_are_rotated_on_the_machine(installation: Installation) -> None:
    made = installation.bash("python -m services.orchestrator.access create --name ci --scopes run")
    key = re.search(r"valign_([a-z0-9]+)_", made)
    assert key is not None
    shown = installation.recipe("keys", OLD_KEY_ID=key[1])
    assert "ci-2" in shown
    listed = installation.bash("python -m services.orchestrator.access list")
    assert re.search(rf"{key[1]}.*revoked", listed)


def test_postgresql_backup_and_restore(installation: Installation, postgres_server: str) -> None:
    full, empty = new_database(postgres_server), new_database(postgres_server)
    url = full.replace("postgresql+psycopg://", "postgresql://")
    installation.bash("valign down")
    installation.environment["VALIGN_ORCHESTRATOR_DATABASE_URL"] = full
    installation.environment["VALIGN_ORCHESTRATOR_HOME"] = str(installation.folder / "home")
    installation.bash("valign up --detach")
    run_id = installation.create_run(principles=5, iterations=1)
    installation.succeed(run_id)
    installation.environment["PATH"] = f"{postgres_bin()}:{installation.environment['PATH']}"
    installation.recipe("backup-postgresql", VALIGN_PG=url)
    installation.recipe("restore-postgresql", VALIGN_PG_EMPTY=empty.replace("+psycopg", ""))
    installation.bash("valign down")
    installation.environment["VALIGN_ORCHESTRATOR_DATABASE_URL"] = empty
    installation.bash("valign up --detach")
    assert installation.run(run_id)["status"] == "succeeded"
    installation.recipe("check")


def test_every_recipe_of_the_guide_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(RECIPES) > 8
    for name in RECIPES:
        assert f'recipe("{name}"' in source, name
    assert shutil.which("bash")
