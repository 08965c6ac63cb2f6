"""Which clients may call a service that asks for certificates: by the names that their certificates carry.

An authority of a cluster signs for more than the orchestrator: what proves that somebody is of the cluster
does not prove that it may train and load. With names set, a certificate without one of them is refused.
"""

from collections.abc import Collection, Mapping
from typing import Any

from services.common.errors import ForbiddenError, UnauthenticatedError

_COMMON_NAME = "x509_common_name"
_ALTERNATIVE_NAMES = "x509_subject_alternative_name"


class Peers:
    """The clients that may call.

    Args:
        names: common names or DNS names (RFC 6125) of their certificates; empty lets every client in that
            the connection itself has let in.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def check(self, context: Any) -> None:
        """Let a call pass, or raise.

        UnauthenticatedError: no certificate. ForbiddenError: a certificate of somebody else.
        """
        if not self._names:
            return
        shown = names_of(context.auth_context())
        if not shown:
            raise UnauthenticatedError("this service answers clients with a certificate alone; show one")
        if self._names.isdisjoint(shown):
            raise ForbiddenError(
                f"the certificate is of {', '.join(sorted(shown))[:200]}, which may not call this service"
                " (TLS_CLIENT_NAMES says who may)"
            )


def names_of(auth_context: Mapping[str, Any]) -> frozenset[str]:
    """Common name and alternative names of the other side's certificate; empty without one."""
    found = [*auth_context.get(_COMMON_NAME, ()), *auth_context.get(_ALTERNATIVE_NAMES, ())]
    return frozenset(name.decode("utf-8", "replace") for name in found)
