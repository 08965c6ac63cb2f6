"""The orchestrator's application for tests: a real SQLite file, a real artifact folder, the fake queue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.common.artifacts import ArtifactStore
from services.orchestrator.application import Application
from services.orchestrator.ports import Probe
from services.orchestrator.store import SqlRunStore
from tests.fakes.fake_queue import FakeQueue


@dataclass(frozen=True, slots=True)
class World:
    """The application and what lies behind it."""

    application: Application
    store: SqlRunStore
    queue: FakeQueue
    artifacts: ArtifactStore
    database_url: str


@contextmanager
def world(folder: Path, probes: Sequence[Probe] = (), probe_timeout_s: float = 3.0) -> Iterator[World]:
    """A new, empty world in a folder."""
    database_url = f"sqlite:///{folder}/valign.db"
    store = SqlRunStore(database_url)
    store.migrate()
    queue = FakeQueue(store)
    artifacts = ArtifactStore(str(folder / "artifacts"))
    application = Application(store, queue, artifacts, probes, probe_timeout_s=probe_timeout_s)
    yield World(application, store, queue, artifacts, database_url)
    application.close()
    store.close()
