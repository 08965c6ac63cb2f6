"""Runs, their events, completions and values, and idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("study", sa.JSON, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("end_time", sa.DateTime),
        sa.Column("error_code", sa.String(32), nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("report_uri", sa.Text, nullable=False),
        sa.Column("report_html_uri", sa.Text, nullable=False),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_create_time_run_id", "runs", ["create_time", "run_id"])
    op.create_index("ix_runs_status_create_time_run_id", "runs", ["status", "create_time", "run_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("study_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("idempotency_key", name="pk_idempotency_keys"),
        _run_reference("idempotency_keys"),
    )
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_run_events"),
        _run_reference("run_events"),
    )
    op.create_table(
        "completions",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("topic_id", sa.String(255), nullable=False),
        sa.Column("item_index", sa.Integer, nullable=False),
        sa.Column("draw", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("principle", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("finish_reason", sa.String(64), nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("adapter_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "arm", "topic_id", "item_index", "draw", name="pk_completions"),
        _run_reference("completions"),
    )
    op.create_table(
        "run_values",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("value_key", sa.String(255), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "value_key", name="pk_run_values"),
        _run_reference("run_values"),
    )


def downgrade() -> None:
    """Undo."""
    for table in ("run_values", "completions", "run_events", "idempotency_keys"):
        op.drop_table(table)
    op.drop_index("ix_runs_status_create_time_run_id", table_name="runs")
    op.drop_index("ix_runs_create_time_run_id", table_name="runs")
    op.drop_table("runs")


def _run_reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["run_id"], ["runs.run_id"], name=f"fk_{table}_run_id_runs", ondelete="CASCADE"
    )
