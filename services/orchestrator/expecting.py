"""What a caller expects to find when it changes something: optimistic concurrency by etags.

The two faces set it (``If-Match`` over REST, ``etag`` of a request over gRPC); the store checks it in the
transaction of the change, so that nothing can happen between the two. Carried with the call, like the
principal, and not through every signature.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from services.common.errors import PreconditionError


@dataclass(frozen=True, slots=True)
class Expected:
    """A resource as the caller saw it: one of these etags."""

    kind: str
    name: str
    etags: tuple[str, ...]


_expected: ContextVar[Expected | None] = ContextVar("expected", default=None)


@contextmanager
def expecting(kind: str, name: str, etags: Sequence[str] | None) -> Iterator[None]:
    """Changes in the block expect the resource to have one of these etags; None expects nothing."""
    token = _expected.set(None if etags is None else Expected(kind, name, tuple(etags)))
    try:
        yield
    finally:
        _expected.reset(token)


def is_expected(kind: str, name: str) -> bool:
    """Whether this call expects something of the resource: whoever must lock it to look may ask first."""
    expected = _expected.get()
    return expected is not None and (expected.kind, expected.name) == (kind, name)


def check_expected(kind: str, name: str, etag: str) -> None:
    """PreconditionError if this call expects another etag of the resource than it has now.

    Call it once the resource's row is locked, before the change.
    """
    expected = _expected.get()
    if expected is None or (expected.kind, expected.name) != (kind, name) or etag in expected.etags:
        return
    seen = ", ".join(repr(one[:80]) for one in expected.etags) or "one that can match"
    raise PreconditionError(
        f"{kind} {name} has changed since it was looked at: its etag is {etag!r}, not {seen}; look again",
        details={"etag": etag},
    )
