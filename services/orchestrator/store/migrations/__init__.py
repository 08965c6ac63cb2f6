"""Alembic migrations of the orchestrator's tables; run at start by ``SqlRunStore.migrate``."""
