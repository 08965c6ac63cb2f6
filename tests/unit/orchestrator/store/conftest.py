"""A store on a fresh SQLite file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.orchestrator.store import SqlRunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    """Migrated and empty."""
    store = SqlRunStore(f"sqlite:///{tmp_path}/valign.db")
    store.migrate()
    yield store
    store.close()
