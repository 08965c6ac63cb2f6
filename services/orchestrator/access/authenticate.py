"""From a call's credential to its principal, or to the refusal: both faces ask before they dispatch."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.common.errors import NotReadyError, UnauthenticatedError, ValignError
from services.orchestrator.access.keys import PREFIX
from services.orchestrator.access.limits import CallLimits
from services.orchestrator.access.scopes import STREAMED, permit
from services.orchestrator.identity import LOCAL, Principal, Scope

log = structlog.get_logger(__name__)

_REMEDY = "send `Authorization: Bearer <API key>`"


class Tokens(Protocol):
    """One kind of credential."""

    async def principal_of(self, token: str) -> Principal:
        """Whose it is; UnauthenticatedError if it is not valid."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before it is dispatched.

    ``scope`` is None for a call that the table of scopes has not; ``authorization`` is the header's value.
    """

    name: str
    scope: Scope | None
    authorization: str
    address: str


class Access:
    """Decides who a caller is and whether the call goes on."""

    def __init__(
        self,
        *,
        required: bool,
        loopback: bool = True,
        keys: Tokens | None = None,
        oidc: Tokens | None = None,
        limits: CallLimits | None = None,
    ) -> None:
        """``required`` False: every caller is ``LOCAL`` and nothing is limited; ``loopback`` says that only
        this machine reaches us."""
        self.required = required
        self.loopback = loopback
        self._keys = keys
        self._oidc = oidc
        self._limits = limits

    async def admit(self, call: Call) -> Principal:
        """The caller of a call that may go on.

        Raises:
            UnauthenticatedError: no credential, or one that is not valid.
            ForbiddenError: its scopes do not allow the call.
            OverloadedError: too many calls, or too many wrong credentials.
            NotReadyError: the issuer of its token is away.
        """
        if not self.required:
            permit(LOCAL, call.name, call.scope)
            return LOCAL
        principal: Principal | None = None
        try:
            principal = await self._principal(call)
            if self._limits is not None:
                self._limits.count_principal(principal.name)
            permit(principal, call.name, call.scope)
        except ValignError as error:
            log.warning(
                "access.refused",
                call=call.name,
                address=call.address,
                principal=principal.name if principal else None,
                code=error.code.value,
                reason=error.message,
            )
            raise
        return principal

    async def recheck(self, call: Call) -> None:
        """Whether a call that stays open may go on: UnauthenticatedError or ForbiddenError once its
        credential has ended. Nothing is counted, and an issuer that is away ends nothing."""
        if not self.required:
            return
        scheme, _, token = call.authorization.strip().partition(" ")
        try:
            permit(await self._check(scheme, token.strip()), call.name, call.scope)
        except NotReadyError as error:
            log.warning("access.not_rechecked", call=call.name, reason=error.message)

    def stream(self, principal: Principal, name: str) -> AbstractContextManager[None]:
        """Around a call that stays open; OverloadedError if the principal holds as many as it may."""
        if self._limits is None or not self.required or name not in STREAMED:
            return nullcontext()
        return self._limits.stream(principal.name)

    async def _principal(self, call: Call) -> Principal:
        scheme, _, token = call.authorization.strip().partition(" ")
        if not call.authorization:
            self._count_stranger(call.address)
            raise UnauthenticatedError(f"{call.name} needs a credential: {_REMEDY}")
        if self._limits is not None:
            self._limits.check_failures(call.address)
        try:
            return await self._check(scheme, token.strip())
        except UnauthenticatedError:
            if self._limits is not None:
                self._limits.count_failure(call.address)
            raise

    async def _check(self, scheme: str, token: str) -> Principal:
        if scheme.lower() != "bearer" or not token or not token.isascii():
            raise UnauthenticatedError(f"the Authorization header holds no bearer token: {_REMEDY}")
        if token.startswith(PREFIX) and self._keys is not None:
            return await self._keys.principal_of(token)
        if self._oidc is not None:
            return await self._oidc.principal_of(token)
        raise UnauthenticatedError(f"the bearer token is no API key: {_REMEDY}")

    def _count_stranger(self, address: str) -> None:
        if self._limits is not None:
            self._limits.count_stranger(address)


RECHECK_S = 30.0
"""Seconds after which the credential of a call that stays open is looked at again."""

OPEN = Access(required=False)
"""Every caller is ``LOCAL``: for a service that only its own machine reaches."""
