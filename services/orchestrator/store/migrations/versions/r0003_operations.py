"""Leases, the audit log, API keys, the adapter registry, and what runs need to pause and to be retried."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = (
    "leases",
    "audit_log",
    "audit_head",
    "api_keys",
    "adapters",
    "adapter_history",
    "adapter_approvals",
    "routes",
    "route_history",
    "replicas",
    "replica_adapters",
)


def upgrade() -> None:
    """Apply."""
    # Not in batch mode: SQLite would make the table anew, and dropping the old one would take the events and
    # completions of every run with it.
    for column in _run_columns():
        op.add_column("runs", column)
    # A run of before is carried by the workflow of its own name.
    op.execute("UPDATE runs SET workflow_id = run_id")
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "audit_log",
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("time", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target_kind", sa.String(32), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous_sha256", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_log"),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("create_by", sa.String(255), nullable=False),
        sa.Column("expire_time", sa.DateTime),
        sa.Column("revoke_time", sa.DateTime),
        sa.Column("last_use_time", sa.DateTime),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )
    op.create_table(
        "adapters",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("iteration", sa.Integer, nullable=False),
        sa.Column("base_model", sa.Text, nullable=False),
        sa.Column("base_fingerprint", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("approval_required", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.Column("prune_time", sa.DateTime),
        sa.PrimaryKeyConstraint("name", name="pk_adapters"),
    )
    op.create_index("ix_adapters_create_time_name", "adapters", ["create_time", "name"])
    op.create_index("ix_adapters_run_id", "adapters", ["run_id"])
    op.create_table(
        "adapter_history",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "number", name="pk_adapter_history"),
        sa.ForeignKeyConstraint(
            ["name"],
            ["adapters.name"],
            name="fk_adapter_history_name_adapters",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "adapter_approvals",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "actor", name="pk_adapter_approvals"),
        sa.ForeignKeyConstraint(
            ["name"],
            ["adapters.name"],
            name="fk_adapter_approvals_name_adapters",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "routes",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("canary_adapter", sa.String(255), nullable=False),
        sa.Column("canary_share", sa.Float, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.Column("update_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_routes"),
    )
    op.create_table(
        "route_history",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("canary_adapter", sa.String(255), nullable=False),
        sa.Column("canary_share", sa.Float, nullable=False),
        sa.Column("time", sa.DateTime, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_route_history"),
        sa.ForeignKeyConstraint(
            ["name"],
            ["routes.name"],
            name="fk_route_history_name_routes",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "replicas",
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("serving", sa.Boolean, nullable=False),
        sa.Column("base_fingerprint", sa.String(64), nullable=False),
        sa.Column("routes", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("seen_time", sa.DateTime),
        sa.PrimaryKeyConstraint("target", name="pk_replicas"),
    )
    op.create_table(
        "replica_adapters",
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("proof", sa.JSON, nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("target", "adapter", name="pk_replica_adapters"),
        sa.ForeignKeyConstraint(
            ["target"],
            ["replicas.target"],
            name="fk_replica_adapters_target_replicas",
            ondelete="CASCADE",
        ),
    )
    op.execute(f"INSERT INTO audit_head (id, sequence, sha256) VALUES (1, 0, '{'0' * 64}')")  # noqa: S608 - ours


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_adapters_run_id", table_name="adapters")
    op.drop_index("ix_adapters_create_time_name", table_name="adapters")
    for table in reversed(_TABLES):
        op.drop_table(table)
    for column in _run_columns():
        op.drop_column("runs", column.name)


def _run_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("pause_requested", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("workflow_id", sa.String(80), nullable=False, server_default=""),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="1"),
        sa.Column("retry_from", sa.String(255), nullable=False, server_default=""),
        sa.Column("created_by", sa.String(255), nullable=False, server_default=""),
    )
