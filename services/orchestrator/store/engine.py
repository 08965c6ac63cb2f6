"""The database engine and what differs between SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.orchestrator.store.jsontext import dumps
from services.orchestrator.store.outage import tell_outages

BUSY_TIMEOUT_S = 30

# A server that is away is noticed within seconds, and a session whose process was stopped in the middle of a
# transaction is ended by the server: its locks would keep a standby from taking over.
_POSTGRES = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c idle_in_transaction_session_timeout=7000",
}


def open_engine(database_url: str, **pool: Any) -> sa.Engine:
    """An engine for the URL; an SQLite file's folder is made if it is missing.

    ``pool`` are arguments of ``sa.create_engine``. The engine raises NotReadyError where the database is
    away, locked or full (``outage``).
    """
    url = sa.make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        url,
        json_serializer=dumps,
        pool_pre_ping=not is_sqlite,
        **pool,
        connect_args={"timeout": BUSY_TIMEOUT_S} if is_sqlite else _postgres_arguments(url),
    )
    tell_outages(engine)
    if is_sqlite:
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        sa.event.listen(engine, "connect", _configure_postgres)
    return engine


def _postgres_arguments(url: sa.URL) -> dict[str, Any]:
    # What the URL says itself stands.
    return {name: value for name, value in _POSTGRES.items() if name not in url.query}


def insert_or_ignore(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, leaving those as they are whose key is there; the number inserted."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # The rows are counted as they come back: psycopg tells no count of an INSERT.
    statement = insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    return len(connection.execute(statement, list(rows)).all())


def upsert(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """Insert a row, or replace the columns that are no key."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(**row)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))


def _configure_sqlite(dbapi_connection: Any, _record: Any) -> None:
    # The driver would begin transactions by itself, late, and never for DDL; see _begin_sqlite.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
    cursor.close()


def _configure_postgres(dbapi_connection: Any, _record: Any) -> None:
    from psycopg.types.string import StrDumper

    class NulFree(StrDumper):
        """PostgreSQL's text has no NUL, and a model may write one."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\x00", "\N{REPLACEMENT CHARACTER}"))

    dbapi_connection.adapters.register_dumper(str, NulFree)


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
