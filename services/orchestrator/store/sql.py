"""``SqlRunStore``: the ``RunStore`` port on SQLAlchemy Core.

Every method is one short transaction and may be called from any thread. A transaction that
writes begins with a write, so that two of them queue on a lock instead of failing. A database that is
away is waited for (``outage``); then every method raises NotReadyError.
"""

import copy
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.common.errors import ConflictError, InvalidInputError, NotFoundError
from services.orchestrator.identity import current_principal
from services.orchestrator.ports import CompletionRecord, EventRecord, RunRecord, RunStatus
from services.orchestrator.store import migrate, tokens
from services.orchestrator.store.assets import SqlAssetStore
from services.orchestrator.store.audit import SqlAuditLog, append_audit
from services.orchestrator.store.engine import insert_or_ignore, open_engine, upsert
from services.orchestrator.store.jsontext import canonical, finite
from services.orchestrator.store.outage import Patience, through_outages
from services.orchestrator.store.tables import completions, idempotency_keys, run_events, run_values, runs

MAX_PAGE_SIZE = 200
# Long enough for a database that restarts, short enough for a caller that waits for an answer.
_WAIT_S = 5.0
_ENDED = [status.value for status in RunStatus if status.ended]
# What tells how a run ended: written once, with the status.
_OUTCOME = {"status", "stage", "end_time", "error_code", "error_message"}
_RUN_COLUMNS = [column for column in runs.columns if column.name != "last_event"]
_SETTABLE = {column.name for column in _RUN_COLUMNS} - {"run_id", "create_time"}


class SqlRunStore:
    """Runs, events, completions and values in one database."""

    def __init__(self, database_url: str) -> None:
        """Open ``sqlite:///path`` or ``postgresql+psycopg://…``; call ``migrate`` before anything else."""
        self._engine = open_engine(database_url)
        self.patience = Patience(_WAIT_S)
        self.assets = SqlAssetStore(self._engine)
        self.audit_log = SqlAuditLog(self._engine)
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

    def ping(self) -> None:
        """Raise what the database raises if it does not answer."""
        with self._engine.connect() as connection:
            connection.execute(sa.select(runs.c.run_id).limit(1)).first()

    def close(self) -> None:
        """Close all connections; nothing waits for the database any more."""
        self.patience.close()
        self._engine.dispose()

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
        self, run_id: str, name: str, study: Mapping[str, Any], idempotency_key: str = ""
    ) -> tuple[RunRecord, bool]:
        """Insert a queued run and its first event, or find the run that the key made.

        ConflictError: the key made a run of another study, or the run id is taken
        (``details["run_id"]`` tells which run is in the way).
        """
        now = datetime.now(UTC)
        record, created = self.patience.keep(
            lambda again: self._create_run(run_id, name, study, idempotency_key, now, again)
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
        now: datetime,
        again: bool,
    ) -> tuple[RunRecord, bool]:
        digest = hashlib.sha256(canonical(study)).hexdigest()
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
                    if again and (record := _read_run(connection, run_id)).create_time == now:
                        return record, True
                    raise ConflictError(f"run id {run_id} is taken", details={"run_id": run_id})
                key = {"idempotency_key": idempotency_key, "run_id": run_id, "study_sha256": digest}
                if not idempotency_key or insert_or_ignore(connection, idempotency_keys, [key]):
                    _append_event(connection, run_id, "run.queued", {"name": name}, now)
                    append_audit(
                        connection, "run.create", "run", run_id, {"name": name, "study_sha256": digest}
                    )
                    record = _read_run(connection, run_id)
                    transaction.commit()
                    created = True
                else:
                    transaction.rollback()
                    created = False
            if not created:
                record = _run_of_key(connection, idempotency_key, digest)
        return record, created

    @through_outages
    def get_run(self, run_id: str) -> RunRecord:
        """The run; NotFoundError if there is none."""
        with self._engine.connect() as connection:
            return _read_run(connection, run_id)

    @through_outages
    def list_runs(
        self, status: RunStatus | None = None, page_size: int = 50, page_token: str = ""
    ) -> tuple[list[RunRecord], str]:
        """Newest first, ``page_size`` (1 to 200) of them, and the next page's token ("" on the last)."""
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInputError(f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page_size}")
        query = sa.select(*_RUN_COLUMNS).order_by(runs.c.create_time.desc(), runs.c.run_id.desc())
        if status is not None:
            query = query.where(runs.c.status == status.value)
        if page_token:
            time, run_id = tokens.decode(page_token)
            older = sa.and_(runs.c.create_time == time, runs.c.run_id < run_id)
            query = query.where(sa.or_(runs.c.create_time < time, older))
        with self._engine.connect() as connection:
            found = [_run(row) for row in connection.execute(query.limit(page_size + 1))]
        page = found[:page_size]
        more = len(found) > page_size
        return page, tokens.encode(page[-1].create_time, page[-1].run_id) if more else ""

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
        with self._engine.begin() as connection:
            if outcome:
                open_run = sa.and_(this, runs.c.status.not_in(_ENDED))
                connection.execute(sa.update(runs).where(open_run).values(**outcome))
            if other:
                connection.execute(sa.update(runs).where(this).values(**other))
            record = _read_run(connection, run_id)
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
        may = sa.and_(runs.c.run_id == run_id, runs.c.status.not_in([*_ENDED, status.value]))
        clean = finite(data or {})

        def change(again: bool) -> bool:
            with self._engine.begin() as connection:
                values = {"status": status.value, **changes}
                if connection.execute(sa.update(runs).where(may).values(**values)).rowcount == 0:
                    _read_run(connection, run_id)
                    return again and _event_of(connection, run_id, kind, now) is not None
                _append_event(connection, run_id, kind, clean, now)
            return True

        changed = self.patience.keep(change)
        if changed:
            self._notify(run_id)
        return changed

    @through_outages
    def request_cancel(self, run_id: str) -> RunRecord:
        """Mark a run as one to be stopped; a run that has ended stays as it is."""
        with self._engine.begin() as connection:
            open_run = sa.and_(runs.c.run_id == run_id, runs.c.status.not_in(_ENDED))
            connection.execute(sa.update(runs).where(open_run).values(cancel_requested=True))
            record = _read_run(connection, run_id)
        self._notify(run_id)
        return record

    def add_event(self, run_id: str, kind: str, data: Mapping[str, Any] | None = None) -> EventRecord:
        """Append an event; its number is the run's last one plus one, whoever else writes.

        Numbers that are not finite become null. ``stage.progress`` of a whole stage also sets the
        run's ``progress``.
        """
        now = datetime.now(UTC)
        clean = finite(data or {})

        def add(again: bool) -> int:
            with self._engine.begin() as connection:
                if again and (stored := _event_of(connection, run_id, kind, now)) is not None:
                    return stored
                added = _append_event(connection, run_id, kind, clean, now)
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
        with self._engine.connect() as connection:
            found = [EventRecord(*row) for row in connection.execute(query)]
            if not found:
                _read_run(connection, run_id)
        return found

    @through_outages
    def add_completions(self, run_id: str, records: Sequence[CompletionRecord]) -> None:
        """Insert; a key (arm, topic, index, draw) that is stored already is left as it is."""
        if not records:
            return
        rows = [_completion_row(run_id, record) for record in records]
        with self._engine.begin() as connection:
            try:
                insert_or_ignore(connection, completions, rows)
            except IntegrityError as error:
                raise NotFoundError(f"there is no run {run_id!r}") from error

    @through_outages
    def completions(
        self, run_id: str, arm: str | None = None, topic_id: str | None = None
    ) -> list[CompletionRecord]:
        """Ordered by arm, topic, index, draw; of one arm or topic if they are given."""
        table = completions.c
        columns = [column for column in completions.columns if column.name != "run_id"]
        query = sa.select(*columns).where(table.run_id == run_id)
        if arm is not None:
            query = query.where(table.arm == arm)
        if topic_id is not None:
            query = query.where(table.topic_id == topic_id)
        query = query.order_by(table.arm, table.topic_id, table.item_index, table.draw)
        with self._engine.connect() as connection:
            return [CompletionRecord(*row) for row in connection.execute(query)]

    @through_outages
    def put_value(self, run_id: str, key: str, value: Any) -> None:
        """Store a JSON-able value under a key; overwrites. Numbers that are not finite become null."""
        with self._engine.begin() as connection:
            try:
                upsert(connection, run_values, {"run_id": run_id, "value_key": key, "value": finite(value)})
            except IntegrityError as error:
                raise NotFoundError(f"there is no run {run_id!r}") from error

    @through_outages
    def get_value(self, run_id: str, key: str) -> Any:
        """The value, or None."""
        query = sa.select(run_values.c.value).where(
            run_values.c.run_id == run_id, run_values.c.value_key == key
        )
        with self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def _notify(self, run_id: str) -> None:
        with self._listeners_lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(run_id)


def _read_run(connection: sa.Connection, run_id: str) -> RunRecord:
    row = connection.execute(sa.select(*_RUN_COLUMNS).where(runs.c.run_id == run_id)).first()
    if row is None:
        raise NotFoundError(f"there is no run {run_id[:80]!r}")
    return _run(row)


def _run(row: sa.Row[Any]) -> RunRecord:
    columns = dict(row._mapping)
    return RunRecord(**{**columns, "status": RunStatus(columns["status"])})


def _run_of_key(connection: sa.Connection, key: str, digest: str) -> RunRecord:
    query = sa.select(idempotency_keys.c.run_id, idempotency_keys.c.study_sha256).where(
        idempotency_keys.c.idempotency_key == key
    )
    run_id, stored_digest = connection.execute(query).one()
    if stored_digest != digest:
        raise ConflictError(
            f"idempotency key {key!r} began run {run_id} of another study; use a new key for a new study",
            details={"run_id": run_id},
        )
    return _read_run(connection, run_id)


def _append_event(
    connection: sa.Connection, run_id: str, kind: str, data: Mapping[str, Any], now: datetime
) -> int:
    this = runs.c.run_id == run_id
    # The update locks the run's row until the commit: the next writer sees the new number.
    if connection.execute(sa.update(runs).where(this).values(last_event=runs.c.last_event + 1)).rowcount == 0:
        raise NotFoundError(f"there is no run {run_id[:80]!r}")
    number = int(connection.execute(sa.select(runs.c.last_event).where(this)).scalar_one())
    event = {"run_id": run_id, "number": number, "time": now, "kind": kind, "data": data}
    connection.execute(sa.insert(run_events).values(**event))
    return number


def _event_of(connection: sa.Connection, run_id: str, kind: str, now: datetime) -> int | None:
    """The number of the event that an earlier attempt stored: the time of its call tells it apart."""
    table = run_events.c
    found = sa.select(table.number).where(table.run_id == run_id, table.time == now, table.kind == kind)
    number = connection.execute(found).scalar()
    return None if number is None else int(number)


def _note_progress(connection: sa.Connection, run_id: str, data: Mapping[str, Any]) -> None:
    this = runs.c.run_id == run_id
    stored = connection.execute(sa.select(runs.c.progress).where(this)).scalar_one()
    step = {"done": int(data.get("done") or 0), "total": int(data.get("total") or 0)}
    progress = {**stored, str(data.get("stage", "")): step}
    connection.execute(sa.update(runs).where(this).values(progress=progress))


def _completion_row(run_id: str, record: CompletionRecord) -> dict[str, Any]:
    row = asdict(record)
    row["item_index"] = row.pop("index")
    return {"run_id": run_id, **row}
