"""Alembic's entry point: migrates over the connection that ``store.migrate`` hands in."""

from alembic import context

# Each of these modules puts its tables into the one metadata.
from services.orchestrator.store import (  # noqa: F401
    tables_embeddings,
    tables_idempotency,
    tables_monitors,
    tables_operations,
    tables_platform,
    tables_reviews,
    tables_tracking,
    tables_webhooks,
)

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables_operations.leases.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
