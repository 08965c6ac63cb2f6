"""Who calls: a principal with scopes, carried with the call and not through every signature.

The two faces of the API set it; the application and the audit log read it. Work that nobody asked for (the
loop's own) has the principal ``VALIGN``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from services.common.errors import ForbiddenError


class Scope(StrEnum):
    """What a credential may do. ``admin`` includes every other; each of the others but two includes ``read``.

    ``infer`` asks a generator's models for answers, and nothing of valign: whoever uses the model need not
    see how it was made, and whoever watches valign must not spend its GPUs. ``review`` rates texts blind:
    whoever does must not read elsewhere which arm wrote them.
    """

    READ = "read"
    RUN = "run"
    APPROVE = "approve"
    PROMOTE = "promote"
    ADMIN = "admin"
    INFER = "infer"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: ``key:<name>``, ``oidc:<issuer>|<subject>``, ``local`` or ``valign``."""

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether its scopes allow what needs ``scope``."""
        if scope in self.scopes or Scope.ADMIN in self.scopes:
            return True
        return scope is Scope.READ and bool(self.scopes - {Scope.INFER, Scope.REVIEW})


VALIGN = Principal("valign", frozenset(Scope))
"""The loop itself."""

LOCAL = Principal("local", frozenset(Scope))
"""Whoever reaches a service that asks for no credential, on the loopback address."""

_current: ContextVar[Principal] = ContextVar("principal", default=VALIGN)


def current_principal() -> Principal:
    """Whose call this is; ``VALIGN`` outside any call."""
    return _current.get()


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """The calls in the block are this principal's."""
    token = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(token)


def require(scope: Scope) -> Principal:
    """The caller; ForbiddenError if its scopes do not allow this."""
    principal = _current.get()
    if not principal.may(scope):
        has = ", ".join(sorted(principal.scopes)) or "none"
        raise ForbiddenError(f"this needs the scope {scope.value!r}; {principal.name} has {has}")
    return principal
