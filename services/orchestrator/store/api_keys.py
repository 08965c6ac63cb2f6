"""``SqlApiKeyStore``: the ``ApiKeyStore`` port on SQLAlchemy Core. It sees no secret, only its sha256."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import ConflictError, NotFoundError
from services.orchestrator.access.keys import ApiKey, Keys
from services.orchestrator.identity import Scope
from services.orchestrator.listing import Page
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.tables_operations import api_keys

_COLUMNS = [column for column in api_keys.columns if column.name != "secret_sha256"]


class SqlApiKeyStore:
    """Keys in the database of the runs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, key: ApiKey, secret_sha256: str) -> None:
        """Insert, and tell the audit log. ConflictError if a valid key has the name: it would be the same
        principal, for limits, approvals and the log."""
        scopes = sorted(scope.value for scope in key.scopes)
        row = {name: getattr(key, name) for name in ApiKey.__slots__}
        expires = key.expire_time.isoformat() if key.expire_time else None
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(api_keys).values(**{**row, "scopes": scopes, "secret_sha256": secret_sha256})
            )
            valid = sa.and_(
                api_keys.c.name == key.name,
                api_keys.c.key_id != key.key_id,
                api_keys.c.revoke_time.is_(None),
                sa.or_(api_keys.c.expire_time.is_(None), api_keys.c.expire_time > key.create_time),
            )
            other = connection.execute(sa.select(api_keys.c.key_id).where(valid)).scalar()
            if other is not None:
                raise ConflictError(
                    f"key {other} is valid and called {key.name!r} too: take another name, or revoke it first"
                )
            details = {"name": key.name, "scopes": scopes, "expire_time": expires}
            append_audit(connection, "api_key.create", "api_key", key.key_id, details, actor=key.create_by)

    def list(self) -> list[ApiKey]:
        """Newest first."""
        query = sa.select(*_COLUMNS).order_by(api_keys.c.create_time.desc(), api_keys.c.key_id)
        with self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query)]

    def page(self, page: Page) -> tuple[Keys, str]:
        """A page of them, newest first, and the next page's token ("" on the last)."""
        with self._engine.connect() as connection:
            by = (api_keys.c.create_time, api_keys.c.key_id)
            return read_page(connection, sa.select(*_COLUMNS), by, page, {}, _key)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key at once; one that was ended before stays as it is."""
        this = api_keys.c.key_id == _known_shape(key_id)
        with self._engine.begin() as connection:
            valid = sa.and_(this, api_keys.c.revoke_time.is_(None))
            changed = connection.execute(
                sa.update(api_keys).where(valid).values(revoke_time=datetime.now(UTC))
            )
            row = connection.execute(sa.select(*_COLUMNS).where(this)).first()
            if row is None:
                raise _missing(key_id)
            if changed.rowcount:
                append_audit(connection, "api_key.revoke", "api_key", key_id, {"name": row.name})
        return _key(row)

    def find(self, key_id: str) -> tuple[ApiKey, str] | None:
        """The key and the sha256 of its secret; None if there is none."""
        query = sa.select(*_COLUMNS, api_keys.c.secret_sha256).where(api_keys.c.key_id == key_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else (_key(row), str(row.secret_sha256))

    def note_use(self, key_id: str, now: datetime, not_since: datetime) -> None:
        """Set the time of the last use; of several calls in a minute, one writes."""
        used = api_keys.c.last_use_time
        stale = sa.and_(api_keys.c.key_id == key_id, sa.or_(used.is_(None), used < not_since))
        with self._engine.begin() as connection:
            connection.execute(sa.update(api_keys).where(stale).values(last_use_time=now))


def _key(row: Any) -> ApiKey:
    columns = {name: getattr(row, name) for name in ApiKey.__slots__}
    return ApiKey(**{**columns, "scopes": frozenset(Scope(scope) for scope in columns["scopes"])})


def _known_shape(key_id: str) -> str:
    # PostgreSQL refuses a text with NUL in it; no id has one.
    if not key_id.isalnum():
        raise _missing(key_id)
    return key_id


def _missing(key_id: str) -> NotFoundError:
    return NotFoundError(f"there is no API key {key_id[:40]!r}; `valign keys list` shows which there are")
