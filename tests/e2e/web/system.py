"""A real orchestrator process that asks for credentials, doubles of the model services behind it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.campaign.processes import (
    ROOT,
    Service,
    answer_of,
    clean_environment,
    free_port,
    ready,
    until,
)
from tests.fakes.studies import study_json

PEOPLE = {
    "ann": "run,read",
    "bea": "approve,promote",
    "root": "admin",
    "guest": "read",
}
"""Scopes by the name of a person's key."""


@dataclass
class Website:
    """Where it is served, and the keys of its people."""

    url: str
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)

    def client(self, person: str) -> httpx.Client:
        """The API as one of them."""
        headers = {"authorization": f"Bearer {self.keys[person]}"} if self.keys else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def study(self, **changes: Any) -> str:
        """A small study as JSON, which its small gate lets through."""
        gate = {
            "min_training_seeds": 1,
            "min_test_inputs": 1,
            "min_subject_ratio": 0.01,
            "min_valid_references": 0.01,
            "min_specificity_ratio": 0.01,
            "max_contradictions": 1.0,
            "required_controls": [],
            "required": [],
        }
        return json.dumps(
            study_json(
                **{
                    "principles": 24,
                    "iterations": 2,
                    "gate": gate,
                    "promotion": {"approval": True},
                    **changes,
                }
            ),
            indent=2,
        )

    def begin(self, person: str, **changes: Any) -> str:
        """Id of a new run of the small study."""
        with self.client(person) as client:
            sent = {"content-type": "application/json"}
            return str(
                answer_of(client.post("/v1/runs", content=self.study(**changes), headers=sent))["run_id"]
            )

    def candidate(self, run_id: str, state: str = "candidate") -> str:
        """Name of the run's one adapter in that state; a candidate is what the gate let through."""
        with self.client("root") as client:
            found = answer_of(client.get("/v1/adapters", params={"run_id": run_id, "state": state}))
            [adapter] = found["adapters"]
            return str(adapter["name"])

    def finish(self, person: str, run_id: str) -> dict[str, Any]:
        """The run, once it has succeeded."""
        with self.client(person) as client:

            def ended() -> dict[str, Any] | None:
                run: dict[str, Any] = answer_of(client.get(f"/v1/runs/{run_id}"))
                assert run["status"] not in ("failed", "cancelled"), run
                return run if run["status"] == "succeeded" else None

            return until(ended, 120, f"run {run_id} succeeds") or {}


@contextmanager
def website(folder: Path, auth: str = "required") -> Iterator[Website]:
    """Serve it while the block runs."""
    fakes = Service(
        "fakes",
        ["tests.fakes.serve_heeding", str(folder), "0.004", "0.08", str(folder / "artifacts")],
        {},
        lambda: (folder / "port").exists() and (folder / "port").read_text() != "",
        folder / "fakes.log",
    )
    fakes.start()
    orchestrator = None
    try:
        fakes.wait_ready(60)
        target = f"127.0.0.1:{(folder / 'port').read_text()}"
        port = free_port()
        settings = {
            "HOME": str(folder),
            "PORT": str(free_port()),
            "HTTP_PORT": str(port),
            "ARTIFACTS": str(folder / "artifacts"),
            "AUTH": auth,
            "RATE_LIMIT": "6000/minute",
            "RECONCILE_INTERVAL_S": "0.5",
            "WAIT_FOR_SERVICES_S": "60",
            # A receiver of a test's own; what it refuses once is a dead letter.
            "WEBHOOK_ALLOWED_HOSTS": '["127.0.0.1"]',
            "WEBHOOK_MAX_ATTEMPTS": "1",
            **{f"{name}_TARGET": target for name in ("GENERATOR", "EMBEDDER", "TRAINER")},
        }
        environment = {f"VALIGN_ORCHESTRATOR_{name}": value for name, value in settings.items()}
        found = Website(f"http://127.0.0.1:{port}", folder)
        if auth == "required":
            found.keys = {name: _key(name, scopes, environment) for name, scopes in PEOPLE.items()}
        orchestrator = Service(
            "orchestrator",
            ["services.orchestrator"],
            environment,
            lambda: ready(port),
            folder / "orchestrator.log",
        )
        orchestrator.start()
        orchestrator.wait_ready(60)
        yield found
    finally:
        if orchestrator is not None:
            orchestrator.stop()
        fakes.stop()


def _key(name: str, scopes: str, environment: dict[str, str]) -> str:
    command = [
        sys.executable,
        "-m",
        "services.orchestrator.access",
        "create",
        "--name",
        name,
        "--scopes",
        scopes,
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(**environment), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
