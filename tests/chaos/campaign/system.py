"""The whole system as processes: orchestrator, generator, embedder, trainer and database."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from services.orchestrator.domain.seeds import sample_seed
from tests.chaos.campaign.database import Database
from tests.chaos.campaign.processes import Service, answer_of, free_port, ready, serving

VICTIMS = ("orchestrator", "generator", "embedder", "trainer", "database")
MAX_IN_FLIGHT = 4
_WAIT_FOR_SERVICES_S = "400"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that the doubles take: long enough that a stage can be met, short enough for many runs."""

    completion_s: float = 0.04
    load_s: float = 0.3
    describe_s: float = 0.12
    encode_s: float = 0.08
    training_step_s: float = 0.1


class System:
    """Five processes on one folder. ``real_model``: train a real model of this folder for real."""

    def __init__(self, folder: Path, pace: Pace | None = None, real_model: Path | None = None) -> None:
        self.folder = folder
        self.paid = folder / "paid.jsonl"
        self.paid.touch()
        self.database = Database()
        pace = pace or Pace()
        self._http_port, grpc_port = free_port(), free_port()
        ports = {name: free_port() for name in ("generator", "embedder", "trainer")}
        artifacts = str(folder / "artifacts")
        orchestrator = {
            "HOME": str(folder),
            "PORT": str(grpc_port),
            "HTTP_PORT": str(self._http_port),
            "DATABASE_URL": self.database.url("valign", "postgresql+psycopg"),
            "SYSTEM_DATABASE_URL": self.database.url("workflows"),
            "ARTIFACTS": artifacts,
            "WAIT_FOR_SERVICES_S": _WAIT_FOR_SERVICES_S,
            **{f"{name.upper()}_TARGET": f"127.0.0.1:{port}" for name, port in ports.items()},
        }
        generator = {
            "MODEL": str(real_model) if real_model else "fake/model",
            "MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
            "ARTIFACTS": artifacts,
        }
        trainer = {
            "STATE_DIR": str(folder / "trainer"),
            "ARTIFACTS_URI": artifacts,
            "THREADS": "1",
            "DEVICE": "cpu",
        }
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "generator": (
                [
                    *("tests.fakes.serve_generator", "--paid", str(self.paid)),
                    *("--latency-s", str(pace.completion_s), "--load-s", str(pace.load_s)),
                    *("--describe-s", str(pace.describe_s)),
                ],
                generator,
            ),
            "embedder": (
                [
                    *("tests.fakes.serve_embedder", "--delay-s", str(pace.encode_s)),
                    *("--describe-s", str(pace.describe_s)),
                ],
                {"MODEL": "fake/encoder", "BATCH_SIZE": "16"},
            ),
            "trainer": (
                ["services.trainer"]
                if real_model
                else ["tests.fakes.serve_trainer", str(pace.training_step_s)],
                trainer,
            ),
        }
        self.services = {
            name: Service(
                name,
                command,
                {f"VALIGN_{name.upper()}_{key}": value for key, value in settings.items()}
                | {f"VALIGN_{name.upper()}_PORT": str(ports[name])}
                | {f"VALIGN_{name.upper()}_METRICS_PORT": "0"},
                lambda port=ports[name]: serving(port),  # type: ignore[misc]
                folder / f"{name}.log",
            )
            for name, (command, settings) in commands.items()
        }
        self.services["orchestrator"] = Service(
            "orchestrator",
            ["services.orchestrator"],
            {f"VALIGN_ORCHESTRATOR_{key}": value for key, value in orchestrator.items()},
            lambda: ready(self._http_port),
            folder / "orchestrator.log",
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self._http_port}", timeout=30)

    def start(self) -> None:
        """Start all and wait until they serve."""
        for service in self.services.values():
            service.start()
        for service in self.services.values():
            service.wait_ready()

    def victim(self, name: str) -> Service | Database:
        """A service, or the database."""
        return self.database if name == "database" else self.services[name]

    def stop(self) -> None:
        """End everything."""
        self.http.close()
        for service in self.services.values():
            service.stop()
        self.database.stop()

    def create_run(self, study: dict[str, Any]) -> str:
        """Start a run of a resolved study."""
        return str(answer_of(self.http.post("/v1/runs", json=study))["run_id"])

    def report(self, run_id: str) -> dict[str, Any]:
        """The run's report.json."""
        found: dict[str, Any] = answer_of(self.http.get(f"/v1/runs/{run_id}/report"))
        return found

    def payments(self) -> list[tuple[int, str]]:
        """(wall-clock time in ns, ``adapter|stage|seed``) of every completion that was made."""
        lines = self.paid.read_text().splitlines()
        return [(entry["t"], entry["key"]) for entry in map(json.loads, lines)]


_STAGES = {"original": ("original", "P1"), "aligned": ("aligned", "P2"), "aligned_other": ("aligned", "PO")}


def payment_key(study_seed: int, row: dict[str, Any]) -> str:
    """The key under which a stored completion was paid for (see ``serve_generator``)."""
    stage, mark = _STAGES.get(row["arm"], ("realigned", "PR" if row["arm"] == "base_reference" else "P3"))
    seed = sample_seed(study_seed, stage, row["topic_id"], row["item_index"], row["draw"])  # type: ignore[arg-type]
    return f"{row['adapter']}|{mark}|{seed}"
