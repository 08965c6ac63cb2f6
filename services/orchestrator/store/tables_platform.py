"""Tables of what other systems are told: the outbox, and how far each reader of it has come."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

outbox = sa.Table(
    "outbox",
    metadata,
    # Without gaps and in the order of the commits: a reader that has seen n has seen all before it.
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_id", sa.String(36), nullable=False),
    sa.Column("type", sa.String(80), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)

# One row, locked by whoever appends until it commits.
outbox_head = sa.Table(
    "outbox_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)

outbox_readers = sa.Table(
    "outbox_readers",
    metadata,
    sa.Column("reader", sa.String(64), primary_key=True),
    # The last event that it has dealt with.
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
