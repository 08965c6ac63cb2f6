"""The orchestrator's durable state in SQL (SQLite or PostgreSQL, by URL)."""

from services.orchestrator.store.sql import SqlRunStore

__all__ = ["SqlRunStore"]
