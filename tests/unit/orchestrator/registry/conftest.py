"""A registry in a fresh SQLite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.orchestrator.store import SqlRunStore
from tests.fakes.orchestrator import migrated_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    """Migrated and empty."""
    made, _ = migrated_store(tmp_path)
    yield made
    made.close()
