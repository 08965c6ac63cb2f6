"""Assets: files of users' that studies name by their sha256."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "assets",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_assets"),
    )
    op.create_index("ix_assets_kind_create_time", "assets", ["kind", "create_time"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_assets_kind_create_time", table_name="assets")
    op.drop_table("assets")
