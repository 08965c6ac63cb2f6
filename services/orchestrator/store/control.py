"""What a person asks of a run (cancel, pause, resume, retry), and what the leader finds to do.

The store is the queue: a request is a change of the run's row, made by whichever process was asked, and the
leader looks at the rows. Every request is in the audit log, in the transaction that makes it.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import PreconditionError
from services.orchestrator.budget import STOPPED
from services.orchestrator.ports import OpenRun, RunRecord, RunStatus
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.jsontext import finite
from services.orchestrator.store.rows import ENDED, append_event, expect_run, read_run, refuse_full_queue
from services.orchestrator.store.tables import run_values, runs

_OPEN_COLUMNS = [runs.c[name] for name in OpenRun.__slots__]
_BUNDLE = "audit_bundle"


class RunControl:
    """The part of ``SqlRunStore`` that steers runs."""

    _writing: Callable[[], AbstractContextManager[sa.Connection]]
    _reading: Callable[[], AbstractContextManager[sa.Connection]]
    _notify: Callable[[str], None]

    def open_runs(self) -> list[OpenRun]:
        """Runs that somebody must do something about, oldest first: all that wait or run, and paused ones
        that are to be cancelled."""
        waiting = runs.c.status.in_([RunStatus.QUEUED.value, RunStatus.RUNNING.value])
        paused = sa.and_(runs.c.status == RunStatus.PAUSED.value, runs.c.cancel_requested)
        query = sa.select(*_OPEN_COLUMNS).where(sa.or_(waiting, paused))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(runs.c.create_time, runs.c.run_id))
            return [OpenRun(**{**row._mapping, "status": RunStatus(row.status)}) for row in rows]

    def request_cancel(self, run_id: str) -> RunRecord:
        """Mark a run as one to be stopped; a run that has ended stays as it is."""
        may = [runs.c.status.not_in(ENDED), sa.not_(runs.c.cancel_requested)]
        return self._ask(run_id, may, {"cancel_requested": True}, "run.cancel")[0]

    def request_pause(self, run_id: str) -> RunRecord:
        """Mark a run as one to be paused; one that is marked or paused stays as it is.

        PreconditionError: it has ended, or is being cancelled.
        """
        may = [
            runs.c.status.not_in([*ENDED, RunStatus.PAUSED.value]),
            sa.not_(runs.c.cancel_requested),
            sa.not_(runs.c.pause_requested),
        ]
        record, changed = self._ask(run_id, may, {"pause_requested": True}, "run.pause")
        if not changed and record.status.ended:
            raise PreconditionError(f"run {run_id} has {_how(record)}: there is nothing to pause")
        if not changed and record.cancel_requested:
            raise PreconditionError(f"run {run_id} is being cancelled and cannot be paused")
        return record

    def mark_paused(self, run_id: str) -> bool:
        """The run has stopped: say so. False, and nothing is written, if nobody wants it paused any more."""
        now = datetime.now(UTC)
        may = (
            runs.c.run_id == run_id,
            runs.c.status.not_in([*ENDED, RunStatus.PAUSED.value]),
            runs.c.pause_requested,
            sa.not_(runs.c.cancel_requested),
        )
        with self._writing() as connection:
            changed = connection.execute(
                sa.update(runs).where(*may).values(status=RunStatus.PAUSED.value)
            ).rowcount
            if changed:
                append_event(connection, run_id, "run.paused", {}, now)
        if changed:
            self._notify(run_id)
        return changed == 1

    def request_resume(self, run_id: str) -> RunRecord:
        """Let a paused run go on: it waits for its turn again. A pause that has only been asked for is taken
        back.

        PreconditionError: it is not paused, or is being cancelled.
        """
        with self._writing() as connection:
            expect_run(connection, run_id)
            this = runs.c.run_id == run_id
            may = (
                this,
                runs.c.pause_requested,
                sa.not_(runs.c.cancel_requested),
                runs.c.status.not_in(ENDED),
            )
            changed = connection.execute(sa.update(runs).where(*may).values(pause_requested=False)).rowcount
            record = read_run(connection, run_id)
            if not changed:
                why = f"has {_how(record)}" if record.status.ended else f"is {record.status.value}"
                why = "is being cancelled" if record.cancel_requested and not record.status.ended else why
                raise PreconditionError(f"run {run_id} {why}: only a paused run can be resumed")
            paused = sa.and_(this, runs.c.status == RunStatus.PAUSED.value)
            connection.execute(sa.update(runs).where(paused).values(status=RunStatus.QUEUED.value))
            append_event(connection, run_id, "run.resumed", {}, datetime.now(UTC))
            record = read_run(connection, run_id)
            append_audit(connection, "run.resume", "run", run_id)
        self._notify(run_id)
        return record

    def retry_run(
        self,
        run_id: str,
        from_step: str,
        *,
        seen: RunRecord | None = None,
        max_queued: int = 0,
        study: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """Open a run that has ended again: it waits for its turn, in a workflow of its own that begins at
        ``from_step`` (a step that the run has recorded; empty for the one after the last).

        ``seen`` is the run as the step was chosen by it. ``study`` replaces its study: the same one with
        another budget. PreconditionError: it has not ended, or is not as it
        was seen. OverloadedError: ``max_queued`` runs wait already (0: no limit).
        """
        with self._writing() as connection:
            expect_run(connection, run_id)
            # The update locks the row, so that of two that retry at once one does.
            ended = [runs.c.run_id == run_id, runs.c.status.in_(ENDED)]
            if seen is not None:
                ended += [runs.c.status == seen.status.value, runs.c.attempt == seen.attempt]
            changed = connection.execute(
                sa.update(runs).where(*ended).values(attempt=runs.c.attempt + 1)
            ).rowcount
            before = read_run(connection, run_id)
            if not changed and before.status.ended:
                raise PreconditionError(
                    f"run {run_id} has {_how(before)} just now: look at it, and try again"
                )
            if not changed:
                raise PreconditionError(
                    f"run {run_id} is {before.status.value}: only a run that has ended can be retried;"
                    " a paused one is resumed"
                )
            fresh: dict[str, Any] = {
                "status": RunStatus.QUEUED.value,
                "workflow_id": workflow_id_of(run_id, before.attempt),
                "retry_from": from_step,
                "end_time": None,
                "error_code": "",
                "error_message": "",
                "cancel_requested": False,
                "pause_requested": False,
                "report_uri": "",
                "report_html_uri": "",
            }
            if study is not None:
                fresh["study"] = finite(study)
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**fresh))
            refuse_full_queue(connection, max_queued)
            # The bundle is of the report that is about to be replaced, and so is what ended it.
            outdated = run_values.c.value_key.in_((_BUNDLE, STOPPED))
            connection.execute(sa.delete(run_values).where(run_values.c.run_id == run_id, outdated))
            facts = {"from_step": from_step, "attempt": before.attempt, "ended_as": before.status.value}
            if study is not None:
                facts["budget"] = study["budget"]
            append_event(connection, run_id, "run.retried", facts, datetime.now(UTC))
            record = read_run(connection, run_id)
            append_audit(
                connection, "run.retry", "run", run_id, {**facts, "earlier_report": before.report_uri}
            )
        self._notify(run_id)
        return record

    def _ask(
        self, run_id: str, may: list[sa.ColumnElement[bool]], values: dict[str, Any], action: str
    ) -> tuple[RunRecord, bool]:
        with self._writing() as connection:
            expect_run(connection, run_id)
            this = (runs.c.run_id == run_id, *may)
            changed = connection.execute(sa.update(runs).where(*this).values(**values)).rowcount == 1
            record = read_run(connection, run_id)
            if changed:
                append_audit(connection, action, "run", run_id)
        self._notify(run_id)
        return record, changed


def workflow_id_of(run_id: str, attempt: int) -> str:
    """The workflow of an attempt, from 1."""
    return run_id if attempt == 1 else f"{run_id}~{attempt}"


def _how(record: RunRecord) -> str:
    return "been cancelled" if record.status is RunStatus.CANCELLED else record.status.value
