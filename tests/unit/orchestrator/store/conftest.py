"""A store on a fresh database: an SQLite file, or one of a real PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.orchestrator.store import SqlRunStore
from tests.fakes.orchestrator import migrated_store
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRunStore]:
    """Migrated and empty."""
    if request.param == "sqlite":
        store, _ = migrated_store(tmp_path)
    else:
        store = SqlRunStore(request.getfixturevalue("postgres_url"))
        store.migrate()
    yield store
    store.close()
