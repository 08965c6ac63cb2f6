"""DBOS on an SQLite file whose disk is full: it waits, as it does for a file that another holds locked.

DBOS repeats what it writes while its file is locked, and gives up on any other error of SQLite: the record of
a step would be lost, and with it the run. A full disk passes as a lock does, so it is told as one.
"""

import sqlite3
from typing import Any

import sqlalchemy as sa

_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def wait_for_room(engine: sa.Engine) -> None:
    """From now on the engine tells a full SQLite disk as "database is locked"; other databases stay."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "handle_error", _as_locked, retval=True)


def _as_locked(context: Any) -> BaseException | None:
    error = context.original_exception
    # The low byte is the primary code: https://www.sqlite.org/rescode.html.
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING:
        return None
    told = sqlite3.OperationalError(f"database is locked, or rather: {error}")
    return sa.exc.OperationalError(context.statement, None, told)
