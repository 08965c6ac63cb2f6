"""Embedding rows that are kept by text and encoder."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "embedding_rows",
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("text_sha256", sa.String(64), nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("row_bytes", sa.LargeBinary, nullable=False),
        sa.Column("check_sha256", sa.LargeBinary, nullable=False),
        sa.Column("used_time_s", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "text_sha256", name="pk_embedding_rows"),
    )
    op.create_index("ix_embedding_rows_used_time_s", "embedding_rows", ["used_time_s", "dimension"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("embedding_rows")
