"""DBOS's engine on a full disk."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos._utils import retriable_sqlite_exception

from services.orchestrator.loop.full_disk import wait_for_room


def test_wait_for_room_full_file_is_an_error_that_dbos_repeats(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/workflows.db")
    wait_for_room(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x TEXT)")
    with engine.connect() as connection:
        # A file that may not grow fails as one on a full disk does.
        connection.exec_driver_sql("PRAGMA max_page_count=2")
        with pytest.raises(sa.exc.OperationalError, match="full") as raised:
            connection.execute(sa.text("INSERT INTO t VALUES (:x)"), {"x": "y" * 100_000})
    assert retriable_sqlite_exception(raised.value)
    with engine.connect() as connection, pytest.raises(sa.exc.OperationalError) as other:
        connection.exec_driver_sql("SELECT * FROM nowhere")
    assert not retriable_sqlite_exception(other.value)
    engine.dispose()
