"""API keys: how they are spelt, made, checked and ended.

A key is ``valign_<key id>_<secret>``; the secret is 256 random bits and only its sha256 is kept.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from services.common.errors import InvalidInputError, UnauthenticatedError
from services.orchestrator.identity import Principal, Scope
from services.orchestrator.listing import Page

PREFIX = "valign_"
DEFAULT_LIFETIME_S = 90 * 86_400
MAX_LIFETIME_S = 3650 * 86_400
LAST_USE_EVERY_S = 60.0
"""The time of the last use is written at most this often."""

_TOKEN = re.compile(r"valign_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,79}")
_REFUSED = "the API key is not valid; ask for one, or make one with `valign keys create`"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    create_time: datetime
    create_by: str
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    last_use_time: datetime | None = None

    def valid_at(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


# Below, ``list`` is a method.
Keys = list[ApiKey]


class ApiKeyStore(Protocol):
    """Where keys are kept. Synchronous; async callers use a thread."""

    def add(self, key: ApiKey, secret_sha256: str) -> None:
        """Insert, with its entry in the audit log."""
        ...

    def list(self) -> list[ApiKey]:
        """Newest first."""
        ...

    def page(self, page: Page) -> tuple[Keys, str]:
        """A page of them, newest first, and the next page's token ("" on the last)."""
        ...

    def revoke(self, key_id: str) -> ApiKey:
        """End a key; one that has ended keeps its time. NotFoundError if there is none."""
        ...

    def find(self, key_id: str) -> tuple[ApiKey, str] | None:
        """The key and the sha256 (hex) of its secret."""
        ...

    def note_use(self, key_id: str, now: datetime, not_since: datetime) -> None:
        """Set the time of the last use, unless one after ``not_since`` is set."""
        ...


class ApiKeys:
    """Makes, lists and ends keys; every method may be called from the loop."""

    def __init__(self, store: ApiKeyStore) -> None:
        self._store = store

    async def create(
        self, name: str, scopes: Collection[str], lifetime_s: int = 0, *, create_by: str
    ) -> tuple[ApiKey, str]:
        """A new key and its token, which is kept nowhere. ``lifetime_s`` 0 is 90 days.

        InvalidInputError: a name, scope or lifetime that no key can have.
        """
        key, token, digest = new_key(name, scopes, lifetime_s, create_by=create_by)
        await asyncio.to_thread(self._store.add, key, digest)
        return key, token

    async def list(self) -> list[ApiKey]:
        """Newest first."""
        return await asyncio.to_thread(self._store.list)

    async def page(self, page: Page) -> tuple[Keys, str]:
        """A page of them, newest first, and the next page's token ("" on the last)."""
        return await asyncio.to_thread(self._store.page, page.bounded())

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key at once; NotFoundError if there is none."""
        return await asyncio.to_thread(self._store.revoke, key_id)

    async def principal_of(self, token: str) -> Principal:
        """Whose token it is. UnauthenticatedError for one that is unknown, wrong, expired or revoked."""
        return await asyncio.to_thread(self._check, token, datetime.now(UTC))

    def _check(self, token: str, now: datetime) -> Principal:
        parts = _TOKEN.fullmatch(token)
        found = self._store.find(parts[1]) if parts else None
        if parts is None or found is None:
            raise UnauthenticatedError(_REFUSED)
        key, digest = found
        if not hmac.compare_digest(secret_sha256(parts[2]), digest):
            raise UnauthenticatedError(_REFUSED)
        # Only whoever holds the secret learns that the key was one.
        if key.revoke_time is not None:
            raise UnauthenticatedError(
                f"API key {key.key_id} was revoked at {key.revoke_time:%Y-%m-%d %H:%M}Z"
            )
        if not key.valid_at(now):
            raise UnauthenticatedError(
                f"API key {key.key_id} expired at {key.expire_time:%Y-%m-%d %H:%M}Z; make another one"
            )
        since = now - timedelta(seconds=LAST_USE_EVERY_S)
        if key.last_use_time is None or key.last_use_time < since:
            self._store.note_use(key.key_id, now, since)
        return Principal(f"key:{key.name}", key.scopes)


def new_key(
    name: str, scopes: Collection[str], lifetime_s: int, *, create_by: str
) -> tuple[ApiKey, str, str]:
    """A key that is not stored yet, its token, and the sha256 of its secret."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"a key's name is 1 to 80 letters, digits, blanks and ._@- and begins with a letter or digit,"
            f" not {name[:80]!r}"
        )
    if not 0 <= lifetime_s <= MAX_LIFETIME_S:
        raise InvalidInputError(f"lifetime_s is 1 to {MAX_LIFETIME_S} seconds, or 0 for 90 days")
    known = [scope.value for scope in Scope]
    if not scopes or (unknown := sorted(set(scopes) - set(known))):
        given = f"; there is none called {unknown[0][:40]!r}" if scopes else ""
        raise InvalidInputError(f"scopes names at least one of {', '.join(known)}{given}")
    now = datetime.now(UTC)
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        key_id=secrets.token_hex(6),
        name=name,
        scopes=frozenset(Scope(scope) for scope in scopes),
        create_time=now,
        create_by=create_by,
        expire_time=now + timedelta(seconds=lifetime_s or DEFAULT_LIFETIME_S),
    )
    return key, f"{PREFIX}{key.key_id}_{secret}", secret_sha256(secret)


def secret_sha256(secret: str) -> str:
    """sha256 (hex). One round is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()
