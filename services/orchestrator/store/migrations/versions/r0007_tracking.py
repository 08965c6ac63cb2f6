"""What is mirrored to MLflow."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "mlflow_runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("mlflow_run_id", sa.String(64), nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_mlflow_runs"),
    )
    op.create_table(
        "mlflow_versions",
        sa.Column("adapter", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("told", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("adapter", name="pk_mlflow_versions"),
    )
    op.create_index("ix_mlflow_versions_model_version", "mlflow_versions", ["model", "version"])
    op.create_table(
        "mlflow_aliases",
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("intended", sa.String(32)),
        sa.Column("route_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("model", "alias", name="pk_mlflow_aliases"),
    )
    op.create_table(
        "mlflow_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("success_time", sa.DateTime),
        sa.Column("failure_time", sa.DateTime),
        sa.Column("failure", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mlflow_state"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("mlflow_state")
    op.drop_table("mlflow_aliases")
    op.drop_index("ix_mlflow_versions_model_version", "mlflow_versions")
    op.drop_table("mlflow_versions")
    op.drop_table("mlflow_runs")
