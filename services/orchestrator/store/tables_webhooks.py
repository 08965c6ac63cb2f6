"""Tables of webhooks and of what is sent to them."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("webhook_id", sa.String(24), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("event_types", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("state_reason", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("create_by", sa.String(255), nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    # No secret: what one is made from together with the key of the settings.
    sa.Column("nonce", sa.String(64), nullable=False),
    sa.Column("key_id", sa.String(16), nullable=False),
    sa.Column("former_nonce", sa.String(64), nullable=False),
    sa.Column("former_key_id", sa.String(16), nullable=False),
    sa.Column("former_until", UtcDateTime),
    # It is told of what came after this event of the outbox.
    sa.Column("from_sequence", sa.BigInteger, nullable=False),
    # The number of its last delivery; the row is locked by whoever adds one.
    sa.Column("last_delivery", sa.BigInteger, nullable=False),
    sa.Column("last_success_time", UtcDateTime),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column(
        "webhook_id",
        sa.String(24),
        sa.ForeignKey("webhooks.webhook_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    # The event itself: a dead letter outlives the outbox.
    sa.Column("event_id", sa.String(36), nullable=False),
    sa.Column("event_type", sa.String(80), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("event_time", UtcDateTime, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_attempt_time", UtcDateTime),
    sa.Column("next_attempt_time", UtcDateTime),
    sa.Column("last_attempt_time", UtcDateTime),
    sa.Column("last_status", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("last_answer", sa.Text, nullable=False),
    sa.Column("end_time", UtcDateTime),
    sa.UniqueConstraint("webhook_id", "event_id", name="uq_webhook_deliveries_webhook_id_event_id"),
    sa.Index("ix_webhook_deliveries_state_webhook_id_number", "state", "webhook_id", "number"),
)
