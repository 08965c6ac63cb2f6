"""What ``make stack-check`` looks at: each integration does its part in one small, real run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.stack.receiver import Receiver
from scripts.stack.up import Stack
from services.cli.errors import CliError
from services.cli.settings import child_environment

TOPICS = ("security-and-privacy", "bias-removal")
STUDY: dict[str, Any] = {
    "name": "stack-check",
    "reference_set": "ten-commandments",
    "topics": [
        {"id": one, "title": one.replace("-", " ").title(), "description": f"About {one.replace('-', ' ')}."}
        for one in TOPICS
    ],
    "prompt_set": "small",
    "principles_per_topic": 4,
    "generation": {"max_new_tokens": 48},
    "training": {"learning_rate": 2.0e-4, "epochs": 1, "batch_size": 4},
    "stop": {"max_iterations": 1, "min_relative_improvement": -1000},
    "arms": {"training_seeds": 1, "controls": []},
    "measurement": {"samples": 1, "resamples": 500, "permutations": 500},
    "guards": {"general_max_new_tokens": 8},
}
RUN_TIMEOUT_S = 900.0
# Longer than a scrape, a look of the mirror or a retry of a webhook takes.
SETTLE_S = 60.0


@dataclass(slots=True)
class Outcome:
    """What was looked at, and how it was."""

    rows: list[tuple[bool, str, str]] = field(default_factory=list)

    def look(self, what: str, see: Callable[[], str], patience_s: float = 0.0) -> bool:
        """Call ``see``, which returns what it saw or raises; again until it passes, for so many seconds."""
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                seen, passed = see(), True
            except Exception as error:
                seen, passed = f"{type(error).__name__}: {error}".splitlines()[0][:300], False
            if passed or time.monotonic() > deadline_s:
                break
            time.sleep(1.0)
        self.rows.append((passed, what, seen))
        print(f"  {'ok  ' if passed else 'FAIL'}  {what}: {seen}", flush=True)
        return passed


class Checks:
    """Looks at one stack. Every method returns what it saw, or raises."""

    def __init__(self, stack: Stack) -> None:
        import httpx

        self.stack = stack
        self.http = httpx.Client(base_url=f"{stack.url}/v1", timeout=120.0, trust_env=False)
        self.run_id = ""
        self.report: dict[str, Any] = {}

    def api(self, method: str, path: str, **options: Any) -> Any:
        """A call of the REST API; its JSON. Raises for an error, with the problem's own words."""
        answer = self.http.request(method, path, **options)
        if answer.is_error:
            raise CliError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json() if answer.content else None

    def services(self) -> str:
        """All serve."""
        found = self.api("GET", "/system")["services"]
        away = [one["name"] for one in found if not one["serving"]]
        _hold(not away, f"not serving: {away}")
        return f"{len(found)} services serve"

    def small_run(self) -> str:
        """`valign run` on a small study, to its end."""
        with tempfile.TemporaryDirectory() as folder:
            study = Path(folder) / "study.json"
            # JSON is YAML.
            study.write_text(json.dumps(STUDY), encoding="utf-8")
            done = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-m", "services.cli", "run", str(study), "--url", self.stack.url],
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=RUN_TIMEOUT_S,
                env=child_environment({}),
            )
        _hold(done.returncode == 0, f"valign run ended with {done.returncode}: {done.stdout[-300:]}")
        run = self.api("GET", "/runs", params={"page_size": 1})["runs"][0]
        _hold(run["status"] == "succeeded", f"{run['run_id']} is {run['status']}")
        self.run_id = run["run_id"]
        self.report = self.api("GET", f"/runs/{self.run_id}/report")
        return f"{self.run_id} ended with {self.report['analysis']['verdict']['decision']}"

    def postgres(self) -> str:
        """Runs, completions and workflows lie in PostgreSQL."""
        import sqlalchemy as sa

        engine = sa.create_engine(self.stack.database_url)
        try:
            with engine.connect() as connection:
                version = connection.execute(sa.text("SHOW server_version")).scalar_one()
                status = connection.execute(
                    sa.text("SELECT status FROM runs WHERE run_id = :run_id"), {"run_id": self.run_id}
                ).scalar_one()
                texts = connection.execute(
                    sa.text("SELECT count(*) FROM completions WHERE run_id = :run_id"),
                    {"run_id": self.run_id},
                ).scalar_one()
                steps = connection.execute(
                    sa.text("SELECT count(*) FROM dbos.operation_outputs WHERE workflow_uuid = :run_id"),
                    {"run_id": self.run_id},
                ).scalar_one()
        finally:
            engine.dispose()
        _hold(status == "succeeded" and texts > 0 and steps > 0, f"{status}, {texts} texts, {steps} steps")
        return f"PostgreSQL {version} holds the run, {texts} completions and {steps} steps"

    def audit_log(self) -> str:
        """The chain is whole."""
        found = self.api("GET", "/audit-log/verify")
        _hold(found["intact"], f"broken: {found}")
        return f"{found['entries']} entries, intact"


def check(stack: Stack) -> int:
    """Look at everything; 0 if all of it works."""
    checks, outcome = Checks(stack), Outcome()
    with Receiver():
        outcome.look("services", checks.services, SETTLE_S)
        if outcome.look("a run", checks.small_run):
            outcome.look("PostgreSQL", checks.postgres)
        outcome.look("audit log", checks.audit_log)
    failed = [what for passed, what, _ in outcome.rows if not passed]
    print(f"\n{len(outcome.rows) - len(failed)} of {len(outcome.rows)} checks passed", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _hold(condition: bool, told: str) -> None:
    if not condition:
        raise CliError(told)
