"""What people ask a monitored name: redacted exchanges, and the windows that they are compared by."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_OF_MONITOR = ("live_error", "live_last_time", "live_kept", "live_drifting")


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "monitors", sa.Column("live_drifting", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("monitors", sa.Column("live_kept", sa.Integer, nullable=False, server_default="0"))
    op.add_column("monitors", sa.Column("live_last_time", sa.DateTime))
    op.add_column("monitors", sa.Column("live_error", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "monitor_samples",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("route_version", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("end_time", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("monitor_id", "number", name="pk_monitor_samples"),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.monitor_id"],
            name="fk_monitor_samples_monitor_id_monitors",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_monitor_samples_end_time", "monitor_samples", ["end_time"])
    op.create_table(
        "monitor_live",
        sa.Column("monitor_id", sa.String(24), nullable=False),
        sa.Column("route_version", sa.BigInteger, nullable=False),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("judged", sa.BigInteger, nullable=False),
        sa.Column("encoder", sa.String(255), nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("answers", sa.LargeBinary, nullable=False),
        sa.Column("requests", sa.LargeBinary, nullable=False),
        sa.Column("moved", sa.Integer, nullable=False),
        sa.Column("normal", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("monitor_id", name="pk_monitor_live"),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.monitor_id"],
            name="fk_monitor_live_monitor_id_monitors",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("monitor_live")
    op.drop_index("ix_monitor_samples_end_time", table_name="monitor_samples")
    op.drop_table("monitor_samples")
    # Without batch mode: that would make the table anew, and drop what refers to it.
    for column in _OF_MONITOR:
        op.drop_column("monitors", column)
