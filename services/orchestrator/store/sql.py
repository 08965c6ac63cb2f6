"""``SqlRunStore``: the ``RunStore`` port on SQLAlchemy Core.

Every method is one short transaction and may be called from any thread. A transaction that
writes begins with a write, so that two of them queue on a lock instead of failing.
"""

import copy
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import TimeoutError as NoConnectionError

from services.common.errors import ConflictError, NotReadyError
from services.orchestrator.identity import LOCAL, VALIGN, current_principal
from services.orchestrator.ports import (
    EventRecord,
    LeadershipLost,
    RunRecord,
    RunStatus,
)
from services.orchestrator.store import announcing, migrate
from services.orchestrator.store.api_keys import SqlApiKeyStore
from services.orchestrator.store.assets import SqlAssetStore
from services.orchestrator.store.audit import SqlAuditLog
from services.orchestrator.store.control import RunControl
from services.orchestrator.store.embedding_rows import SqlEmbeddingRows
from services.orchestrator.store.engine import insert_or_ignore, open_engine
from services.orchestrator.store.idempotency import SqlIdempotency
from services.orchestrator.store.jsontext import canonical, finite
from services.orchestrator.store.leases import SqlLeases, holds
from services.orchestrator.store.listing import RunListing
from services.orchestrator.store.outage import Patience, through_outages
from services.orchestrator.store.platform import SqlPlatform
from services.orchestrator.store.registry import SqlRegistry
from services.orchestrator.store.results import RunResults
from services.orchestrator.store.rows import (
    ENDED,
    RUN_COLUMNS,
    append_event,
    event_of,
    read_run,
    refuse_full_queue,
)
from services.orchestrator.store.tables import idempotency_keys, run_events, runs
from services.orchestrator.store.transactions import Fenced

# Long enough for a database that restarts, short enough for a caller that waits for an answer.
_WAIT_S = 5.0
# What tells how a run ended: written once, with the status.
_OUTCOME = {"status", "stage", "end_time", "error_code", "error_message"}
_SETTABLE = {column.name for column in RUN_COLUMNS} - {"run_id", "create_time"}


class SqlRunStore(RunControl, RunListing, RunResults):
    """Runs, events, completions and values in one database."""

    def __init__(self, database_url: str, *, require_approval: bool = False) -> None:
        """Open ``sqlite:///path`` or ``postgresql+psycopg://…``; call ``migrate`` before anything else.

        ``require_approval``: every candidate asks for approval, whatever its study says.
        """
        self._engine = open_engine(database_url)
        self.patience = Patience(_WAIT_S)
        self.assets = SqlAssetStore(self._engine)
        self.api_keys = SqlApiKeyStore(self._engine)
        self.idempotency = SqlIdempotency(self._engine)
        self.audit_log = SqlAuditLog(self._engine)
        self.platform = SqlPlatform(self._engine, require_approval=require_approval)
        # Connections of its own: calls that keep all others busy must not cost the leadership.
        self._lease_engine = open_engine(database_url, pool_size=1, max_overflow=1, pool_timeout=2)
        self.leases = SqlLeases(self._lease_engine)
        self._epoch: int | None = None
        self.registry = SqlRegistry(self._engine, require_approval=require_approval)
        self._listeners: set[Callable[[str], None]] = set()
        self._listeners_lock = threading.Lock()

    def waiting(self, wait_s: float) -> "SqlRunStore":
        """This store for callers that would rather wait for the database than fail, this many seconds.

        It shares connections, listeners and ``close``.
        """
        patient = copy.copy(self)
        patient.patience = self.patience.longer(wait_s)
        return patient

    @through_outages
    def migrate(self) -> None:
        """Bring the database to the newest schema."""
        migrate.upgrade(self._engine)

    def embedding_rows(self, limit_bytes: int) -> SqlEmbeddingRows:
        """The cache of embedding rows, in this size."""
        return SqlEmbeddingRows(self._engine, limit_bytes)

    def bound(self, epoch: int) -> "SqlRunStore":
        """This store for the loop of the leader with this epoch: every call raises LeadershipLost once the
        epoch is over, in the transaction of what it would write, or while the database does not answer."""
        store = copy.copy(self)
        store._epoch = epoch
        fenced = Fenced(store._writing, store._reading)
        store.registry = SqlRegistry(fenced, require_approval=self.registry.require_approval)
        store.platform = SqlPlatform(fenced, require_approval=self.registry.require_approval)
        return store

    def check_leads(self) -> None:
        """LeadershipLost if the epoch that this store is bound to is over; nothing for one that is not."""
        with self._writing():
            pass

    def ping(self) -> None:
        """Raise what the database raises if it does not answer."""
        with self._engine.connect() as connection:
            connection.execute(sa.select(runs.c.run_id).limit(1)).first()

    def close(self) -> None:
        """Close all connections, and end every wait."""
        self.patience.close()
        self._engine.dispose()
        self._lease_engine.dispose()

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call ``listener(run_id)`` after each change made through this object, in the thread that made
        it; it must not block or raise. Returns the function that ends this."""
        with self._listeners_lock:
            self._listeners.add(listener)

        def unsubscribe() -> None:
            with self._listeners_lock:
                self._listeners.discard(listener)

        return unsubscribe

    def create_run(
        self,
        run_id: str,
        name: str,
        study: Mapping[str, Any],
        idempotency_key: str = "",
        *,
        max_queued: int = 0,
    ) -> tuple[RunRecord, bool]:
        """Insert a queued run and its first event, or find the run that the key made for this principal.

        ConflictError: the key made a run of another study, or the run id is taken
        (``details["run_id"]`` tells which run is in the way). OverloadedError: ``max_queued`` runs wait
        already (0: no limit).
        """
        now = datetime.now(UTC)
        record, created = self.patience.keep(
            lambda again: self._create_run(run_id, name, study, idempotency_key, max_queued, now, again)
        )
        if created:
            self._notify(run_id)
        return record, created

    def _create_run(
        self,
        run_id: str,
        name: str,
        study: Mapping[str, Any],
        idempotency_key: str,
        max_queued: int,
        now: datetime,
        again: bool,
    ) -> tuple[RunRecord, bool]:
        digest = hashlib.sha256(canonical(study)).hexdigest()
        stored_key = _stored_key(idempotency_key)
        row = {
            "run_id": run_id,
            "name": name,
            "status": RunStatus.QUEUED.value,
            "stage": "",
            "identity": "",
            "study": dict(study),
            "create_time": now,
            "error_code": "",
            "error_message": "",
            "cancel_requested": False,
            "report_uri": "",
            "report_html_uri": "",
            "progress": {},
            "pause_requested": False,
            "workflow_id": run_id,
            "attempt": 1,
            "retry_from": "",
            "created_by": current_principal().name,
            "last_event": 0,
        }
        with self._engine.connect() as connection:
            with connection.begin() as transaction:
                if insert_or_ignore(connection, runs, [row]) == 0:
                    # A connection that broke in the commit left open whether the attempt before was stored.
                    if again and (record := read_run(connection, run_id)).create_time == now:
                        return record, True
                    raise ConflictError(f"run id {run_id} is taken", details={"run_id": run_id})
                key = {"idempotency_key": stored_key, "run_id": run_id, "study_sha256": digest}
                if not idempotency_key or insert_or_ignore(connection, idempotency_keys, [key]):
                    refuse_full_queue(connection, max_queued)
                    append_event(connection, run_id, "run.queued", {"name": name}, now)
                    record = read_run(connection, run_id)
                    announcing.run_created(connection, record, digest)
                    transaction.commit()
                    created = True
                else:
                    transaction.rollback()
                    created = False
            if not created:
                record = _run_of_key(connection, stored_key, idempotency_key, digest)
        return record, created

    @through_outages
    def get_run(self, run_id: str) -> RunRecord:
        """The run; NotFoundError if there is none."""
        with self._reading() as connection:
            return read_run(connection, run_id)

    @through_outages
    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        """Set columns by name. A run that has ended keeps its status, stage, end time and error.

        A status that ends the run sets ``end_time`` if none is given.
        """
        unknown = changes.keys() - _SETTABLE
        if unknown:
            raise ValueError(f"no such column to set: {', '.join(sorted(unknown))}")
        if "status" in changes:
            status = RunStatus(changes["status"])
            changes["status"] = status.value
            if status.ended:
                changes.setdefault("end_time", datetime.now(UTC))
        outcome = {name: value for name, value in changes.items() if name in _OUTCOME}
        other = {name: value for name, value in changes.items() if name not in _OUTCOME}
        this = runs.c.run_id == run_id
        with self._writing() as connection:
            if outcome:
                open_run = sa.and_(this, runs.c.status.not_in(ENDED))
                connection.execute(sa.update(runs).where(open_run).values(**outcome))
            if other:
                connection.execute(sa.update(runs).where(this).values(**other))
            record = read_run(connection, run_id)
        self._notify(run_id)
        return record

    def change_status(
        self, run_id: str, status: RunStatus, kind: str, data: Mapping[str, Any] | None = None, **changes: Any
    ) -> bool:
        """Set the status (and other columns) and append the event that tells it, in one transaction.

        False, and nothing is written, if the run has that status already or has ended: of two that
        end a run at the same time one does, and its event is the last.
        """
        now = datetime.now(UTC)
        changes = {"end_time": now, **changes} if status.ended else changes
        may = sa.and_(runs.c.run_id == run_id, runs.c.status.not_in([*ENDED, status.value]))
        clean = finite(data or {})

        def change(again: bool) -> bool:
            with self._writing() as connection:
                values = {"status": status.value, **changes}
                if connection.execute(sa.update(runs).where(may).values(**values)).rowcount == 0:
                    read_run(connection, run_id)
                    return again and event_of(connection, run_id, kind, now) is not None
                append_event(connection, run_id, kind, clean, now)
                if status.ended:
                    announcing.run_ended(connection, read_run(connection, run_id), kind, clean)
            return True

        changed = self.patience.keep(change)
        if changed:
            self._notify(run_id)
        return changed

    def add_event(self, run_id: str, kind: str, data: Mapping[str, Any] | None = None) -> EventRecord:
        """Append an event; its number is the run's last one plus one, whoever else writes.

        Numbers that are not finite become null. ``stage.progress`` of a whole stage also sets the
        run's ``progress``.
        """
        now = datetime.now(UTC)
        clean = finite(data or {})

        def add(again: bool) -> int:
            with self._writing() as connection:
                if again and (stored := event_of(connection, run_id, kind, now)) is not None:
                    return stored
                added = append_event(connection, run_id, kind, clean, now)
                if kind == "stage.progress" and "topic" not in clean:
                    _note_progress(connection, run_id, clean)
            return added

        number = self.patience.keep(add)
        self._notify(run_id)
        return EventRecord(number, now, kind, clean)

    @through_outages
    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Events with a number above ``after``, in order, at most ``limit``; NotFoundError for no run."""
        query = (
            sa.select(run_events.c.number, run_events.c.time, run_events.c.kind, run_events.c.data)
            .where(run_events.c.run_id == run_id, run_events.c.number > after)
            .order_by(run_events.c.number)
            .limit(limit)
        )
        with self._reading() as connection:
            found = [EventRecord(*row) for row in connection.execute(query)]
            if not found:
                read_run(connection, run_id)
        return found

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        if self._epoch is None:
            with self._engine.begin() as connection:
                yield connection
            return
        with _answering(), self._engine.begin() as connection:
            if not holds(connection, self._epoch):
                raise LeadershipLost(f"epoch {self._epoch} is over: another orchestrator leads, or none")
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        if self._epoch is None:
            with self._engine.connect() as connection:
                yield connection
            return
        with _answering(), self._engine.connect() as connection:
            yield connection

    def _notify(self, run_id: str) -> None:
        with self._listeners_lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(run_id)


@contextmanager
def _answering() -> Iterator[None]:
    """A database that does not answer ends the leadership: whoever leads next begins again what was cut."""
    try:
        yield
    except (NotReadyError, NoConnectionError) as error:
        raise LeadershipLost(f"the database does not answer: {error}") from error


def _stored_key(key: str) -> str:
    """A principal's own key: what one sends must not find another's run. Hashed, as names are long."""
    principal = current_principal()
    if not key or principal in (LOCAL, VALIGN):
        return key
    return "p:" + hashlib.sha256(f"{principal.name}\0{key}".encode()).hexdigest()


def _run_of_key(connection: sa.Connection, stored_key: str, key: str, digest: str) -> RunRecord:
    query = sa.select(idempotency_keys.c.run_id, idempotency_keys.c.study_sha256).where(
        idempotency_keys.c.idempotency_key == stored_key
    )
    run_id, stored_digest = connection.execute(query).one()
    if stored_digest != digest:
        raise ConflictError(
            f"idempotency key {key!r} began run {run_id} of another study; use a new key for a new study",
            details={"run_id": run_id},
        )
    return read_run(connection, run_id)


def _note_progress(connection: sa.Connection, run_id: str, data: Mapping[str, Any]) -> None:
    this = runs.c.run_id == run_id
    stored = connection.execute(sa.select(runs.c.progress).where(this)).scalar_one()
    step = {"done": int(data.get("done") or 0), "total": int(data.get("total") or 0)}
    progress = {**stored, str(data.get("stage", "")): step}
    connection.execute(sa.update(runs).where(this).values(progress=progress))
