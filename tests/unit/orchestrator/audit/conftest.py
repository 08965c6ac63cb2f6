"""One bundle of a synthetic run, made once a process."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bundles import RunWorld, bundle_of, make_run
from tests.evidence import make_evidence


@dataclass(frozen=True, slots=True)
class Bundled:
    """A run, its bundle and the bundle's sha256."""

    world: RunWorld
    path: Path
    sha256: str


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundled]:
    folder = tmp_path_factory.mktemp("bundled")
    world = make_run(folder, make_evidence(2, 12, 2, probes=True))
    path = folder / "bundle.zip"
    yield Bundled(world, path, bundle_of(world, path))
    world.store.close()
