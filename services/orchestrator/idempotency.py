"""Idempotency keys of whatever changes something: what was answered, kept for whoever asks again.

Semantics of the IETF draft "The Idempotency-Key HTTP Header Field": the same key with the same request gives
the first answer; with another request, or while the first is being answered, it is a conflict. A key is its
principal's own, and counts for one operation on one path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

KEEP_S = 24 * 3600.0
"""How long an answer is kept, in seconds."""
CLAIM_S = 60.0
"""A claim that was not renewed for so long is that of a process that has died."""
RENEW_S = 15.0
MAX_KEPT_BYTES = 1 << 20
"""A longer answer is not kept, only that there was one."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was sent. ``body`` is None if it must not be kept (a secret) or was too long."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a key that was used before; ``answer`` is None while it is being worked on."""

    request_sha256: str
    answer: KeptAnswer | None


class IdempotencyBook(Protocol):
    """Where answers are kept. Synchronous, like ``RunStore``."""

    def claim(self, key_sha256: str, request_sha256: str, claimant: str) -> Found | None:
        """Take a key for a request, or tell what is known of it. A claim that is not renewed can be taken
        over; an answer that is older than ``KEEP_S`` is forgotten."""
        ...

    def renew(self, key_sha256: str, claimant: str) -> None:
        """The claimant still works."""
        ...

    def keep(self, key_sha256: str, claimant: str, answer: KeptAnswer) -> None:
        """The request is answered."""
        ...

    def release(self, key_sha256: str, claimant: str) -> None:
        """Nothing came of it: the key is free again."""
        ...
