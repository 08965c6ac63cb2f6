"""The tables, as SQLAlchemy Core metadata. Migrations must lead to exactly this."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC without a zone (SQLite has no zones)."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse naive datetimes: whose clock they mean is not known."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"datetime without a time zone: {value.isoformat()}")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


def _run_id() -> sa.Column[str]:
    return sa.Column(
        "run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True
    )


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("identity", sa.String(64), nullable=False),
    sa.Column("study", sa.JSON, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("end_time", UtcDateTime),
    sa.Column("error_code", sa.String(32), nullable=False),
    sa.Column("error_message", sa.Text, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("report_uri", sa.Text, nullable=False),
    sa.Column("report_html_uri", sa.Text, nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("pause_requested", sa.Boolean, nullable=False),
    # The workflow that carries the run: a retry makes a new one, which begins where the old one is forked.
    sa.Column("workflow_id", sa.String(80), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    # Where the next attempt begins; empty for the beginning, or for what the workflow has recorded.
    sa.Column("retry_from", sa.String(255), nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    # The number of the run's newest event: one row to lock, so that numbers have no gaps.
    sa.Column("last_event", sa.BigInteger, nullable=False),
    sa.Index("ix_runs_create_time_run_id", "create_time", "run_id"),
    sa.Index("ix_runs_status_create_time_run_id", "status", "create_time", "run_id"),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("idempotency_key", sa.String(255), primary_key=True),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
    sa.Column("study_sha256", sa.String(64), nullable=False),
)

run_events = sa.Table(
    "run_events",
    metadata,
    _run_id(),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)

completions = sa.Table(
    "completions",
    metadata,
    _run_id(),
    sa.Column("arm", sa.String(64), primary_key=True),
    sa.Column("topic_id", sa.String(255), primary_key=True),
    # "index" is a reserved word in SQL.
    sa.Column("item_index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("draw", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("principle", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("finish_reason", sa.String(64), nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("adapter", sa.String(255), nullable=False),
    sa.Column("adapter_sha256", sa.String(64), nullable=False),
)

run_values = sa.Table(
    "run_values",
    metadata,
    _run_id(),
    sa.Column("value_key", sa.String(255), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)

assets = sa.Table(
    "assets",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Index("ix_assets_kind_create_time", "kind", "create_time"),
)
