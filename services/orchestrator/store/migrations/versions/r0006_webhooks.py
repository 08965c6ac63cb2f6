"""Webhooks, and what is sent to them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhooks",
        sa.Column("webhook_id", sa.String(24), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", sa.JSON, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("create_by", sa.String(255), nullable=False),
        sa.Column("update_time", sa.DateTime, nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("former_nonce", sa.String(64), nullable=False),
        sa.Column("former_key_id", sa.String(16), nullable=False),
        sa.Column("former_until", sa.DateTime),
        sa.Column("from_sequence", sa.BigInteger, nullable=False),
        sa.Column("last_delivery", sa.BigInteger, nullable=False),
        sa.Column("last_success_time", sa.DateTime),
        sa.PrimaryKeyConstraint("webhook_id", name="pk_webhooks"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook_id", sa.String(24), nullable=False),
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("event_type", sa.String(80), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("event_time", sa.DateTime, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_attempt_time", sa.DateTime),
        sa.Column("next_attempt_time", sa.DateTime),
        sa.Column("last_attempt_time", sa.DateTime),
        sa.Column("last_status", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("last_answer", sa.Text, nullable=False),
        sa.Column("end_time", sa.DateTime),
        sa.PrimaryKeyConstraint("webhook_id", "number", name="pk_webhook_deliveries"),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.webhook_id"],
            name="fk_webhook_deliveries_webhook_id_webhooks",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("webhook_id", "event_id", name="uq_webhook_deliveries_webhook_id_event_id"),
    )
    op.create_index(
        "ix_webhook_deliveries_state_webhook_id_number",
        "webhook_deliveries",
        ["state", "webhook_id", "number"],
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_webhook_deliveries_state_webhook_id_number", table_name="webhook_deliveries")
    for table in ("webhook_deliveries", "webhooks"):
        op.drop_table(table)
