"""Answers that are kept under idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "idempotent_answers",
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("claimant", sa.String(36), nullable=False),
        sa.Column("claim_time", sa.DateTime, nullable=False),
        sa.Column("expire_time", sa.DateTime, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("key_sha256", name="pk_idempotent_answers"),
    )
    op.create_index("ix_idempotent_answers_expire_time", "idempotent_answers", ["expire_time"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("idempotent_answers")
