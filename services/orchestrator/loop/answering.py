"""Whether DBOS's database answers, asked before DBOS does.

DBOS repeats what its database refuses for ever, in the thread that it is asked in: begun on a database that
is away or locked, it would stop the event loop.
"""

import sqlalchemy as sa

from services.common.errors import NotReadyError

_WAIT_S = 2


def require_answer(database_url: str) -> None:
    """NotReadyError if the database does not let this process write within a few seconds. Blocking."""
    url = sa.make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": _WAIT_S} if is_sqlite else {"connect_timeout": _WAIT_S}
    engine = sa.create_engine(url, connect_args=arguments, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            # On SQLite whoever writes holds the only lock.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "SELECT 1")
            connection.rollback()
    except sa.exc.SQLAlchemyError as error:
        raise NotReadyError("the database of the workflows does not answer, or is locked") from error
    finally:
        engine.dispose()
