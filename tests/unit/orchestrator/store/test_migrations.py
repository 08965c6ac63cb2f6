"""The migrations lead to exactly the tables that the store uses, and back."""

from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.orchestrator.store import SqlRunStore, migrate
from services.orchestrator.store.engine import open_engine
from services.orchestrator.store.tables import metadata


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_upgrade_from_empty_equals_the_metadata(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/valign.db")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_upgrade_foreign_keys_equal_the_metadata(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/valign.db")
    migrate.upgrade(engine)
    for table in metadata.tables.values():
        found = sa.inspect(engine).get_foreign_keys(table.name)
        wanted = [
            (str(key.parent.name), key.column.table.name, str(key.ondelete)) for key in table.foreign_keys
        ]
        assert [
            (key["constrained_columns"][0], key["referred_table"], key["options"]["ondelete"])
            for key in found
        ] == wanted
    engine.dispose()


def test_upgrade_twice_changes_nothing(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/valign.db")
    migrate.upgrade(engine)
    before = _tables(engine)
    migrate.upgrade(engine)
    assert _tables(engine) == before
    engine.dispose()


def test_downgrade_to_base_removes_every_table(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/valign.db")
    migrate.upgrade(engine)
    assert set(metadata.tables) <= _tables(engine)
    migrate.downgrade(engine, "base")
    assert _tables(engine) == {"alembic_version"}
    migrate.upgrade(engine)
    assert set(metadata.tables) <= _tables(engine)
    engine.dispose()


def test_open_engine_on_a_missing_folder_makes_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a/b%20c/valign.db")
    migrate.upgrade(engine)
    assert (tmp_path / "a").is_dir()
    engine.dispose()


def test_schema_compiles_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql

    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))


def test_upgrade_of_a_database_with_runs_keeps_them_and_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/valign.db"
    engine = open_engine(url)
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (run_id, name, status, stage, identity, study, create_time, error_code,"
            " error_message, cancel_requested, report_uri, report_html_uri, progress, last_event) VALUES"
            " ('r-1', 'x', 'queued', '', '', '{}', '2026-01-01 00:00:00', '', '', 0, '', '', '{}', 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO run_events VALUES ('r-1', 1, '2026-01-01 00:00:00', 'run.queued', '{}')"
        )
    migrate.upgrade(engine)
    store = SqlRunStore(url)
    run = store.get_run("r-1")
    assert (run.workflow_id, run.attempt, run.pause_requested) == ("r-1", 1, False)
    assert (len(store.events("r-1")), store.assets.list_assets()) == (1, [])
    assert store.audit_log.head() == (0, "0" * 64)
    migrate.downgrade(engine, "0001")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM run_events").scalar() == 1
        assert connection.exec_driver_sql("SELECT run_id FROM runs").scalars().all() == ["r-1"]
    store.close()
    engine.dispose()
