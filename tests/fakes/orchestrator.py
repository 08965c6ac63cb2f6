"""The orchestrator's application for tests: a real SQLite file, a real artifact folder, the fake queue."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.common.artifacts import ArtifactStore
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.application import Application
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.looks import Probe
from services.orchestrator.monitor.service import Monitors
from services.orchestrator.platform import Platform
from services.orchestrator.platform_build import build_reviews
from services.orchestrator.registry.ports import Replica
from services.orchestrator.registry.pruning import Pruner
from services.orchestrator.registry.retention import Retention
from services.orchestrator.registry.service import Registry
from services.orchestrator.store import SqlRunStore
from services.orchestrator.values_training import ValuesTraining
from services.orchestrator.webhooks.rules import UrlRules
from services.orchestrator.webhooks.service import Webhooks
from services.orchestrator.webhooks.signing import SecretBox
from tests.fakes.fake_queue import FakeQueue, FakeSteps
from tests.fakes.value_services import WordEmbedder, WordJudge


@dataclass(frozen=True, slots=True)
class World:
    """The application and what lies behind it."""

    application: Application
    store: SqlRunStore
    queue: FakeQueue
    steps: FakeSteps
    artifacts: ArtifactStore
    database_url: str


@cache
def _migrated_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "valign.db"
        store = SqlRunStore(f"sqlite:///{path}")
        store.migrate()
        store.close()
        return path.read_bytes()


def migrated_store(folder: Path) -> tuple[SqlRunStore, str]:
    """A migrated, empty store in a folder, and its URL; migrated once and copied, which is quicker."""
    path = folder / "valign.db"
    path.write_bytes(_migrated_database())
    return SqlRunStore(f"sqlite:///{path}"), f"sqlite:///{path}"


def _platform(store: SqlRunStore, artifacts: ArtifactStore) -> Platform:
    secrets = SecretBox(lambda: ["the key of a test, which is long enough"])
    return Platform(
        reviews=build_reviews(store, artifacts),
        webhooks=Webhooks(store.platform.webhooks, secrets, UrlRules(local=True)),
        monitors=Monitors(store.platform.monitors, artifacts, EndpointHosts(None)),
    )


@contextmanager
def world(
    folder: Path,
    probes: Sequence[Probe] = (),
    probe_timeout_s: float = 3.0,
    replicas: Sequence[Replica] = (),
    retention: Retention | None = None,
    **options: Any,
) -> Iterator[World]:
    """A new, empty world in a folder; without replicas no generator holds a promotion back.

    ``options`` are the application's.
    """
    store, database_url = migrated_store(folder)
    queue, steps = FakeQueue(store), FakeSteps()
    artifacts = ArtifactStore(str(folder / "artifacts"))
    assets = AssetLibrary(store.assets, artifacts)
    values = ValuesTraining(WordEmbedder(), WordJudge(), assets)
    registry = Registry(store.registry, replicas, Pruner(store.registry, artifacts, retention or Retention()))
    application = Application(
        store,
        queue,
        artifacts,
        probes,
        assets=assets,
        values=values,
        steps=steps,
        registry=registry,
        api_keys=ApiKeys(store.api_keys),
        platform=_platform(store, artifacts),
        probe_timeout_s=probe_timeout_s,
        **options,
    )
    yield World(application, store, queue, steps, artifacts, database_url)
    application.close()
    store.close()
