"""A database that is away, locked or full: told as NotReadyError, and waited for.

A restarted server, a file that another process holds locked and a disk without space have one thing in
common: the same statement succeeds later. ``tell_outages`` makes the engine raise NotReadyError for all of
them, whoever uses it; ``Patience`` repeats a transaction until it succeeds or its time is over.

A connection that breaks during a commit leaves open whether it happened. So only what can be repeated
goes through here: a repetition is told that it is one, and looks first whether its row is there.
"""

import functools
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import sqlalchemy as sa
import structlog
from prometheus_client import Counter

from services.common.errors import NotReadyError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

OUTAGES = Counter("valign_orchestrator_database_outages_total", "Statements that the database was away for.")
WAIT_SECONDS = Counter(
    "valign_orchestrator_database_wait_seconds_total", "Seconds that transactions waited for the database."
)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_SQLITE_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, rollbacks by the
# server, insufficient resources (a full disk among them), operator intervention, and errors of the system.
_POSTGRESQL_PASSING = ("08", "40001", "40P01", "53", "55P03", "57P", "58")
# A connection that is refused for what it says of itself, which no time cures.
_REFUSED = ("authentication failed", "does not exist", "no pg_hba.conf entry")


def tell_outages(engine: sa.Engine) -> None:
    """From now on the engine raises NotReadyError where its database is away, locked or full."""
    sa.event.listen(engine, "handle_error", _as_not_ready, retval=True)


def passes(error: BaseException | None) -> bool:
    """True if the driver's error says that the same statement can succeed later."""
    if isinstance(error, sqlite3.OperationalError):
        # The low byte is the primary code: https://www.sqlite.org/rescode.html.
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE_PASSING
    if type(error).__module__.partition(".")[0] != "psycopg":
        return False
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRESQL_PASSING)
    # Without a state it never reached a server that answers, or lost it.
    lost = type(error).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
    return lost and not any(words in str(error) for words in _REFUSED)


def _as_not_ready(context: Any) -> BaseException | None:
    if context.is_pre_ping:
        # The pool asks, in order to connect anew.
        return None
    if not (context.is_disconnect or passes(context.original_exception)):
        return None
    # Where the database lies is for the log, and not for whoever calls the API.
    said = " ".join(str(context.original_exception).split())
    log.warning("database.outage", reason=said[:500])
    OUTAGES.inc()
    return NotReadyError(_told(context.original_exception))


def _told(error: BaseException) -> str:
    state = str(getattr(error, "sqlstate", None) or "")
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "the disk of the database is full; make room"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "the database is locked by another process"
    if state == "53100":
        return "the disk of the database is full; make room"
    return "the database does not answer; start it, or wait until it is back"


class Patience:
    """How long a transaction is repeated while the database is away; ``close`` ends every wait."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._closed = threading.Event()

    def longer(self, wait_s: float) -> "Patience":
        """One with another time, which ends when this one ends."""
        other = Patience(wait_s)
        other._closed = self._closed
        return other

    def close(self) -> None:
        """No wait goes on, and none begins."""
        self._closed.set()

    def keep(self, work: Callable[[bool], Result]) -> Result:
        """``work(again)`` until it raises no NotReadyError; blocks the thread.

        ``again`` is True once an attempt may have been stored although it failed. Raises the last
        attempt's error when the time is over, with the seconds that were waited.
        """
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                return work(attempt > 0)
            except NotReadyError as error:
                waited_s = time.monotonic() - began
                if waited_s >= self._wait_s or self._closed.is_set():
                    raise NotReadyError(
                        f"{error.message} (waited {waited_s:.0f} s for the database)", details=error.details
                    ) from error
                log.warning("database.waiting", waited_s=round(waited_s, 1), reason=error.message)
                pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
                attempt = min(attempt + 1, 10)
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
                pause_s = min(pause_s * jitter, self._wait_s - waited_s)
                WAIT_SECONDS.inc(pause_s)
                self._closed.wait(pause_s)


Method = TypeVar("Method", bound=Callable[..., Any])


def through_outages(method: Method) -> Method:
    """A method that reads, or that may be repeated as it is: it waits by its object's ``patience``."""

    @functools.wraps(method)
    def patient(self: Any, *args: Any, **kwargs: Any) -> Any:
        patience: Patience = self.patience
        return patience.keep(lambda again: method(self, *args, **kwargs))

    return cast(Method, patient)
