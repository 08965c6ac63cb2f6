"""The table of answers that are kept under idempotency keys."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

idempotent_answers = sa.Table(
    "idempotent_answers",
    metadata,
    # sha256 over principal, operation, path and key: names may be long, and keys are nobody else's business.
    sa.Column("key_sha256", sa.String(64), primary_key=True),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    # Who works on it; empty once it is answered.
    sa.Column("claimant", sa.String(36), nullable=False),
    sa.Column("claim_time", UtcDateTime, nullable=False),
    sa.Column("expire_time", UtcDateTime, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.JSON),
    # Null also for an answer that must not be kept: it holds a secret.
    sa.Column("body", sa.LargeBinary),
    sa.Index("ix_idempotent_answers_expire_time", "expire_time"),
)
