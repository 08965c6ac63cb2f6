"""A world that is mirrored to a real MLflow server; each test has an experiment and models of its own."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.common.artifacts import ArtifactStore
from services.orchestrator.registry.pruning import Pruner
from services.orchestrator.registry.records import AdapterState, NewAdapter
from services.orchestrator.registry.retention import Retention
from services.orchestrator.registry.service import Registry
from services.orchestrator.settings import OrchestratorSettings, apply_mlflow_environment
from services.orchestrator.store import SqlRunStore
from services.orchestrator.tracking.leading import build_mirror
from services.orchestrator.tracking.mirror import Mirror
from tests.fakes.adapter_folders import FINGERPRINT, write_adapter
from tests.fakes.orchestrator import migrated_store
from tests.fakes.studies import study_json
from tests.mlflow_server import MlflowProcess, mlflow_server

__all__ = ["mlflow_server"]


@pytest.fixture(autouse=True, scope="session")
def _environment() -> Iterator[None]:
    """The client's environment, as the service sets it, for these tests alone."""
    before = dict(os.environ)
    apply_mlflow_environment(OrchestratorSettings(mlflow_timeout_s=5))
    yield
    os.environ.clear()
    os.environ.update(before)


@dataclass
class Place:
    """valign on one side, MLflow on the other."""

    server: MlflowProcess
    folder: Path
    store: SqlRunStore
    artifacts: ArtifactStore
    registry: Registry
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}")
    mirror: Mirror = field(init=False)

    def __post_init__(self) -> None:
        self.mirror = self.new_mirror()

    def new_mirror(self, **options: Any) -> Mirror:
        """A mirror that knows nothing yet, as after a start of the process."""
        settings = OrchestratorSettings(
            mlflow_tracking_uri=self.server.uri,
            mlflow_experiment=self.name,
            mlflow_model_prefix=self.name,
            **options,
        )
        self.mirror = build_mirror(settings, self.store, self.artifacts, self.registry)
        return self.mirror

    async def step(self) -> None:
        """One step that must work: nothing failed."""
        self.look_at_aliases()
        await self.mirror.step()
        assert self.store.platform.tracking.state().failure == ""

    def look_at_aliases(self) -> None:
        """The next step looks at them, as it does by itself after a while."""
        self.mirror._looked_s = -float("inf")

    @property
    def client(self) -> Any:
        """MLflow's own client: what people see."""
        from mlflow import MlflowClient

        return MlflowClient(self.server.uri)

    def runs(self) -> list[Any]:
        """Every MLflow run of this test, oldest first."""
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment is None:
            return []
        return list(self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"]))

    @property
    def model(self) -> str:
        """The registered model of the adapters below."""
        return f"{self.name}-tiny"

    def aliases(self) -> dict[str, str]:
        """Alias -> version."""
        return {a: str(v) for a, v in self.client.get_registered_model(self.model).aliases.items()}

    def version(self, number: str) -> Any:
        """One version."""
        return self.client.get_model_version(self.model, number)

    def create_run(self, run_id: str = "r-1", **study: Any) -> None:
        """A queued run."""
        data = study_json(**study)
        self.store.create_run(run_id, data["name"], data)

    def add_adapter(self, name: str, state: AdapterState = AdapterState.CANDIDATE, **changes: Any) -> None:
        """An adapter with its files, brought to a state."""
        made = write_adapter(self.artifacts, self.folder / f"made-{name}", f"adapters/{name}")
        fields: dict[str, Any] = {
            "run_id": "r-1",
            "arm": "",
            "iteration": 1,
            "base_model": "/models/tiny",
            "base_fingerprint": FINGERPRINT,
            "rank": 4,
            "approval_required": False,
            "created_by": "key:ana",
        }
        self.store.registry.register(
            NewAdapter(**{"name": name, "sha256": made.sha256, "uri": made.uri, **fields, **changes})
        )
        for step in (AdapterState.PROVEN, AdapterState.CANDIDATE):
            if state is not AdapterState.TRAINED:
                self.store.registry.move(name, step, "as the test wants it")
            if step is state:
                break


@pytest.fixture
def place(mlflow_server: MlflowProcess, tmp_path: Path) -> Iterator[Place]:
    """No generator holds a promotion back."""
    store, _ = migrated_store(tmp_path)
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    registry = Registry(store.registry, [], Pruner(store.registry, artifacts, Retention()))
    yield Place(mlflow_server, tmp_path, store, artifacts, registry)
    store.close()
