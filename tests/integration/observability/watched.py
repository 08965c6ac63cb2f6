"""The four services as processes with doubles in them, watched: metrics, traces and logs of one run."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.campaign.processes import Service, answer_of, free_port, ready, serving, until
from tests.fakes.studies import study_json

ENDED = ("succeeded", "failed", "cancelled")
STUDY = {"principles": 6, "iterations": 2, "name": "watched-study"}


@dataclass
class Watched:
    """``traced`` is the collector's endpoint for all of them; "" leaves traces off."""

    folder: Path
    traced: str
    services: dict[str, Service] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    metrics_ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paid = self.folder / "paid.jsonl"
        self.paid.touch()
        commands = {
            "generator": (
                ["tests.fakes.serve_generator", "--paid", str(self.paid), "--latency-s", "0.02"],
                {"MODEL": "fake/model", "ARTIFACTS": self.artifacts, "MAX_IN_FLIGHT": "4"},
            ),
            "embedder": (["tests.fakes.serve_embedder"], {"MODEL": "fake/encoder", "BATCH_SIZE": "16"}),
            "trainer": (
                ["tests.fakes.serve_trainer", "0.05"],
                {
                    "STATE_DIR": str(self.folder / "trainer"),
                    "ARTIFACTS_URI": self.artifacts,
                    "THREADS": "1",
                    "DEVICE": "cpu",
                },
            ),
        }
        for name, (command, settings) in commands.items():
            self.ports[name], self.metrics_ports[name] = free_port(), free_port()
            self.services[name] = self._service(
                name,
                command,
                settings | {"PORT": str(self.ports[name]), "METRICS_PORT": str(self.metrics_ports[name])},
                lambda port=self.ports[name]: serving(port),  # type: ignore[misc]
                self.traced,
            )
        self.services["orchestrator"] = self.orchestrator("orchestrator", self.traced)

    @property
    def artifacts(self) -> str:
        return str(self.folder / "artifacts")

    def orchestrator(self, name: str, traced: str) -> Service:
        """One more orchestrator on its own database, beside the same services."""
        port = self.metrics_ports[name] = free_port()
        targets = {f"{other.upper()}_TARGET": f"127.0.0.1:{at}" for other, at in self.ports.items()}
        settings = {
            "HOME": str(self.folder / name),
            "PORT": str(free_port()),
            "HTTP_PORT": str(port),
            "ARTIFACTS": self.artifacts,
            **targets,
        }
        return self._service(name, ["services.orchestrator"], settings, lambda: ready(port), traced)

    def _service(
        self,
        name: str,
        command: list[str],
        settings: dict[str, str],
        is_ready: Callable[[], bool],
        traced: str,
    ) -> Service:
        prefix = "VALIGN_ORCHESTRATOR_" if name.startswith("orchestrator") else f"VALIGN_{name.upper()}_"
        environment = {f"{prefix}{key}": value for key, value in settings.items()}
        environment[f"{prefix}TRACING_ENDPOINT"] = traced
        # Quick batches: what a killed process has not sent is lost.
        environment |= {"OTEL_BSP_SCHEDULE_DELAY": "200", "PYTHONPATH": os.pathsep.join(["."])}
        return Service(name, command, environment, is_ready, self.folder / f"{name}.log")

    def start(self) -> None:
        """Start all four and wait until they serve."""
        for service in self.services.values():
            service.start()
        for service in self.services.values():
            service.wait_ready()

    def stop(self) -> None:
        """End all, as an operator would; those that do not are killed."""
        for service in self.services.values():
            if service.process is not None and service.process.poll() is None:
                service.process.terminate()
        for service in self.services.values():
            if service.process is not None:
                until(lambda one=service: one.process.poll() is not None, 30, f"{service.name} ends")  # type: ignore[misc]

    def api(self, method: str, path: str, at: str = "orchestrator", **more: Any) -> Any:
        """A REST call's answer."""
        url = f"http://127.0.0.1:{self.metrics_ports[at]}{path}"
        return answer_of(httpx.request(method, url, timeout=30, **more))

    def begin(self, at: str = "orchestrator", headers: dict[str, str] | None = None, **changes: Any) -> str:
        """Start a run; its id."""
        study = study_json(**{**STUDY, **changes})
        return str(self.api("POST", "/v1/runs", at, json=study, headers=headers)["run_id"])

    def until_stage(self, run_id: str, stage: str) -> None:
        """Wait until the run is in a stage."""

        def there() -> bool:
            found = self.api("GET", f"/v1/runs/{run_id}")
            assert found["status"] not in ENDED, found
            return bool(found["stage"] == stage)

        until(there, 60, f"{run_id} in {stage}")

    def until_ended(self, run_id: str, at: str = "orchestrator") -> dict[str, Any]:
        """The run once it has ended."""
        deadline = time.monotonic() + 120
        while (found := self.api("GET", f"/v1/runs/{run_id}", at))["status"] not in ENDED:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return dict(found)

    def metrics(self, name: str) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Samples by name, as a scrape of a service finds them."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_ports[name]}/metrics", timeout=30).text
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found
