"""Tables of what is mirrored to MLflow: which run, version and alias there stands for what here."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

mlflow_runs = sa.Table(
    "mlflow_runs",
    metadata,
    # No foreign key: what MLflow holds outlives the run's row.
    sa.Column("run_id", sa.String(64), primary_key=True),
    # Empty: this run is not mirrored (it had ended before mirroring began, or was deleted in MLflow).
    sa.Column("mlflow_run_id", sa.String(64), nullable=False),
    # The run's last event that MLflow holds, with all that belongs to it.
    sa.Column("last_event", sa.BigInteger, nullable=False),
)

mlflow_versions = sa.Table(
    "mlflow_versions",
    metadata,
    sa.Column("adapter", sa.String(255), primary_key=True),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    # When MLflow made it, in its own milliseconds: a version number is given twice if a model is deleted.
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    # The number of the entry of the adapter's history that MLflow was last told.
    sa.Column("told", sa.BigInteger, nullable=False),
    sa.Index("ix_mlflow_versions_model_version", "model", "version"),
)

mlflow_aliases = sa.Table(
    "mlflow_aliases",
    metadata,
    sa.Column("model", sa.String(255), primary_key=True),
    sa.Column("alias", sa.String(255), primary_key=True),
    # The version that it was last seen to name; empty for none.
    sa.Column("version", sa.String(32), nullable=False),
    # What it is being set to; null once that is done.
    sa.Column("intended", sa.String(32)),
    # The version of the route when it was set; 0 for a route that there was not.
    sa.Column("route_version", sa.BigInteger, nullable=False),
)

# One row: how the mirror is, for every process that is asked.
mlflow_state = sa.Table(
    "mlflow_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("success_time", UtcDateTime),
    sa.Column("failure_time", UtcDateTime),
    sa.Column("failure", sa.Text, nullable=False),
)
