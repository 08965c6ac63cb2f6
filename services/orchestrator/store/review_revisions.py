"""What a closed review changes, in one transaction: the run's report, its verdict, registry and outbox."""

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from services.orchestrator.identity import current_principal
from services.orchestrator.registry.lifecycle import after_review
from services.orchestrator.review.records import NewRevision, Whole
from services.orchestrator.store import registry_rows
from services.orchestrator.store.announcing import adapter_moved
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import upsert
from services.orchestrator.store.outbox import announce
from services.orchestrator.store.review_rows import lock
from services.orchestrator.store.tables import run_values, runs
from services.orchestrator.store.tables_reviews import reviews
from services.orchestrator.store.transactions import Transactions

REVISIONS: Final = "report_revisions"
_REPORT_FILES: Final = "report_files"
_BUNDLE: Final = "audit_bundle"


class SqlReviewRevisions:
    """Writing revisions of reports."""

    def __init__(self, transactions: Transactions, *, require_approval: bool = False) -> None:
        self._require_approval = require_approval
        self._transactions = transactions

    def revisions(self, run_id: str) -> list[dict[str, Any]]:
        """Every later writing of a run's report, oldest first, with what it replaced."""
        with self._transactions.connect() as connection:
            return list(_value(connection, run_id, REVISIONS) or [])

    def finish(self, review: Whole, replaced: tuple[str, str], new: NewRevision) -> bool:
        """Make the new report the run's; False, and nothing is written, if the run's is not the one that was
        ``replaced`` (report and page) any more, or the review has its revision already."""
        now = datetime.now(UTC)
        who = current_principal().name
        with self._transactions.begin() as connection:
            if lock(connection, review.review_id).revision:
                return False
            same = sa.and_(runs.c.run_id == review.run_id, runs.c.report_uri == replaced[0])
            moved = sa.update(runs).where(same)
            values = {"report_uri": new.report_uri, "report_html_uri": new.html_uri}
            if connection.execute(moved.values(**values)).rowcount == 0:
                return False
            known = _value(connection, review.run_id, _REPORT_FILES) or {}
            hashes = {new.report_uri: new.report_sha256, new.html_uri: new.html_sha256}
            _put(connection, review.run_id, _REPORT_FILES, {**known, **hashes})
            entry = {
                "number": new.number,
                "time": now.isoformat(),
                "by": who,
                "review_id": review.review_id,
                "decision": new.decision,
                "report_uri": new.report_uri,
                "html_uri": new.html_uri,
                "replaced_report_uri": replaced[0],
                "replaced_html_uri": replaced[1],
            }
            earlier = _value(connection, review.run_id, REVISIONS) or []
            _put(connection, review.run_id, REVISIONS, [*earlier, entry])
            # The bundle of before speaks of the report of before.
            stale = sa.and_(run_values.c.run_id == review.run_id, run_values.c.value_key == _BUNDLE)
            connection.execute(sa.delete(run_values).where(stale))
            connection.execute(
                sa.update(reviews)
                .where(reviews.c.review_id == review.review_id)
                .values(revision=new.number, decision=new.decision, results=dict(new.results))
            )
            told = _registry(connection, new, self._require_approval)
            self._tell(connection, review, new, told)
        return True

    def _tell(
        self, connection: sa.Connection, review: Whole, new: NewRevision, adapter_told: dict[str, Any]
    ) -> None:
        agreement = new.results["agreement"]["ordinal"]
        announce(
            connection,
            "review.closed",
            f"reviews/{review.review_id}",
            {
                "review_id": review.review_id,
                "run_id": review.run_id,
                "decision": new.decision,
                "revision": new.number,
                "items": new.results["items"],
                "ratings": new.results["ratings"],
                "raters": new.results["raters"],
                "alpha": agreement["value"] if agreement else None,
                "closed_by": review.close_by,
            },
        )
        if new.decision:
            query = sa.select(runs.c.name, runs.c.attempt).where(runs.c.run_id == review.run_id)
            name, attempt = connection.execute(query).one()
            verdict = {
                "run_id": review.run_id,
                "name": name,
                "attempt": attempt,
                "decision": new.decision,
                "adapter": new.adapter,
                "reasons": [dict(reason) for reason in new.reasons],
            }
            announce(connection, "run.verdict", f"runs/{review.run_id}", verdict)
        if adapter_told:
            append_audit(connection, "adapter.review", "adapter", new.adapter, adapter_told)
        details = {"review_id": review.review_id, "revision": new.number, "decision": new.decision}
        append_audit(
            connection, "report.revise", "run", review.run_id, {**details, "report_uri": new.report_uri}
        )


def _registry(connection: sa.Connection, new: NewRevision, require_approval: bool) -> dict[str, Any]:
    """The newest verdict on the run's adapter; what the audit log is told, {} if nothing changes."""
    if not new.adapter or not new.decision or not registry_rows.lock(connection, new.adapter):
        return {}
    record = registry_rows.read(connection, new.adapter)
    served = bool(registry_rows.serving(connection, new.adapter))
    state, reason = after_review(record, new.decision, new.headline, served=served)
    if (state, reason) == (record.state, record.reason):
        return {}
    registry_rows.set_state(connection, record, state, reason)
    if state is not record.state:
        adapter_moved(connection, record, state, reason, require_approval=require_approval)
    return {"state": state.value, "reason": reason}


def _value(connection: sa.Connection, run_id: str, key: str) -> Any:
    query = sa.select(run_values.c.value).where(run_values.c.run_id == run_id, run_values.c.value_key == key)
    return connection.execute(query).scalar()


def _put(connection: sa.Connection, run_id: str, key: str, value: Any) -> None:
    upsert(connection, run_values, {"run_id": run_id, "value_key": key, "value": value})
