"""Monitors, their measurements and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "monitors",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("create_by", sa.String(255), nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.Column("next_time", sa.DateTime, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("last_alarm", sa.BigInteger, nullable=False),
        sa.Column("baseline_number", sa.BigInteger, nullable=False),
        sa.Column("baseline_version", sa.BigInteger, nullable=False),
        sa.Column("prompts_number", sa.BigInteger, nullable=False),
        sa.Column("drifted", sa.Integer, nullable=False),
        sa.Column("normal", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_success_time", sa.DateTime),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("drifting", sa.Boolean, nullable=False),
        sa.Column("failing", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("monitor_id", name="pk_monitors"),
    )
    op.create_table(
        "monitor_measurements",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fire_time", sa.DateTime, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("end_time", sa.DateTime),
        sa.Column("route_version", sa.BigInteger, nullable=False),
        sa.Column("baseline_number", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("monitor_id", "number", name="pk_monitor_measurements"),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.monitor_id"],
            name="fk_monitor_measurements_monitor_id_monitors",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_monitor_measurements_state", "monitor_measurements", ["state"])
    op.create_table(
        "monitor_draws",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("topic_id", sa.String(255), nullable=False),
        sa.Column("index", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("draw", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("principle", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("adapter_sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint(
            "monitor_id", "number", "phase", "topic_id", "index", "draw", name="pk_monitor_draws"
        ),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.monitor_id"],
            name="fk_monitor_draws_monitor_id_monitors",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "monitor_alarms",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("measurement_number", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("topics", sa.JSON, nullable=False),
        sa.Column("raise_time", sa.DateTime, nullable=False),
        sa.Column("acknowledge_time", sa.DateTime),
        sa.Column("acknowledge_by", sa.String(255), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("clear_time", sa.DateTime),
        sa.Column("run_wanted", sa.Boolean, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("run_error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("monitor_id", "number", name="pk_monitor_alarms"),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.monitor_id"],
            name="fk_monitor_alarms_monitor_id_monitors",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_monitor_measurements_state", table_name="monitor_measurements")
    for table in ("monitor_alarms", "monitor_draws", "monitor_measurements", "monitors"):
        op.drop_table(table)
