"""DBOS's database is asked before DBOS is begun."""

import sqlite3
import time
from pathlib import Path

import pytest

from services.common.errors import NotReadyError
from services.orchestrator.loop.answering import require_answer
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def test_require_answer_locked_sqlite_file_is_told_soon(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/workflows.db"
    require_answer(url)
    holder = sqlite3.connect(tmp_path / "workflows.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began_s = time.monotonic()
    with pytest.raises(NotReadyError, match="locked"):
        require_answer(url)
    assert time.monotonic() - began_s < 10
    holder.execute("ROLLBACK")
    holder.close()
    require_answer(url)


def test_require_answer_postgresql_that_is_there_and_one_that_is_not(postgres_url: str) -> None:
    require_answer(postgres_url)
    with pytest.raises(NotReadyError):
        require_answer("postgresql+psycopg://nobody@127.0.0.1:1/none")
