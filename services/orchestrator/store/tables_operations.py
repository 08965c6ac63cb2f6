"""Tables of who leads, who may call, what was done, and which adapters speak to the public."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    # Empty: given up, and free at once.
    sa.Column("holder", sa.String(255), nullable=False),
    # Rises with every new holder: the fence.
    sa.Column("epoch", sa.BigInteger, nullable=False),
    # Rises with every renewal: whoever waits watches it by a clock of its own.
    sa.Column("beat", sa.BigInteger, nullable=False),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    # As it was hashed: ISO 8601 in UTC with microseconds.
    sa.Column("time", sa.String(32), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("target_kind", sa.String(32), nullable=False),
    sa.Column("target", sa.String(255), nullable=False),
    # Canonical JSON text, not a JSON column: a database must not write it in another order.
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("previous_sha256", sa.String(64), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

# One row: locked first by whoever appends, so that entries have no gaps and one predecessor each.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False),
    # The secret is 256 random bits: one round of sha256 is as hard to undo as any.
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("create_by", sa.String(255), nullable=False),
    sa.Column("expire_time", UtcDateTime),
    sa.Column("revoke_time", UtcDateTime),
    sa.Column("last_use_time", UtcDateTime),
)

adapters = sa.Table(
    "adapters",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    # No foreign key: an adapter that serves the public outlives its run's row.
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
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Column("prune_time", UtcDateTime),
    sa.Index("ix_adapters_create_time_name", "create_time", "name"),
    sa.Index("ix_adapters_run_id", "run_id"),
)


def _adapter_name() -> sa.Column[str]:
    return sa.Column(
        "name", sa.String(255), sa.ForeignKey("adapters.name", ondelete="CASCADE"), primary_key=True
    )


adapter_history = sa.Table(
    "adapter_history",
    metadata,
    _adapter_name(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

adapter_approvals = sa.Table(
    "adapter_approvals",
    metadata,
    _adapter_name(),
    sa.Column("actor", sa.String(255), primary_key=True),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
)

routes = sa.Table(
    "routes",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    # Empty: the base model.
    sa.Column("adapter", sa.String(255), nullable=False),
    sa.Column("canary_adapter", sa.String(255), nullable=False),
    sa.Column("canary_share", sa.Float, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Column("update_by", sa.String(255), nullable=False),
)

route_history = sa.Table(
    "route_history",
    metadata,
    sa.Column("name", sa.String(64), sa.ForeignKey("routes.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("adapter", sa.String(255), nullable=False),
    sa.Column("canary_adapter", sa.String(255), nullable=False),
    sa.Column("canary_share", sa.Float, nullable=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

# What the leader last saw of each generator replica.
replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("target", sa.String(255), primary_key=True),
    sa.Column("serving", sa.Boolean, nullable=False),
    sa.Column("base_fingerprint", sa.String(64), nullable=False),
    # Route name -> version that it serves.
    sa.Column("routes", sa.JSON, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("seen_time", UtcDateTime),
)

replica_adapters = sa.Table(
    "replica_adapters",
    metadata,
    sa.Column(
        "target", sa.String(255), sa.ForeignKey("replicas.target", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("adapter", sa.String(255), primary_key=True),
    # "loading", "proven" or "failed".
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # What the generator measured.
    sa.Column("proof", sa.JSON, nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
)
