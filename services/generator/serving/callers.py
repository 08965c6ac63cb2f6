"""Who calls the HTTP face. The orchestrator knows; this asks it with the caller's own token, and remembers.

A token is kept as its sha256 alone, and never logged. What is remembered is bounded in number and time: a
good token for ``FRESH_S``, as the orchestrator itself looks again at a stream's credential; a wrong one for a
few seconds. While the orchestrator is away known callers go on for a grace, and unknown ones get 503.
"""

import asyncio
import hashlib
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import structlog

from services.common.errors import (
    ForbiddenError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    UnauthenticatedError,
)
from services.generator.metrics import HTTP_CREDENTIAL_CHECKS

log = structlog.get_logger(__name__)

FRESH_S = 30.0
"""Seconds for which a good answer stands."""
WRONG_S = 5.0
"""Seconds for which a bad one does."""
MOST_REMEMBERED = 10_000
MOST_WRONG_PER_MINUTE = 20
"""Wrong tokens of one address in a minute; then it waits. Below the orchestrator's own limit (30), so that
one stranger does not use it up for everybody behind this service."""

_MINUTE_S = 60.0
_LONGEST_TOKEN = 8192
_ALLOWED = frozenset({"infer", "admin"})
_REMEDY = "send `Authorization: Bearer <API key>`, with a key that has the scope 'infer'"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who called, as the orchestrator names it; scopes are words."""

    name: str
    scopes: frozenset[str]


LOCAL = Caller("local", _ALLOWED)
"""Whoever reaches a face that asks for no credential."""


class Authority(Protocol):
    """Who knows callers."""

    async def ask(self, token: str, address: str) -> Caller | None:
        """Whose token it is, None if nobody's. NotReadyError: cannot be asked now."""
        ...


class OrchestratorAuthority:
    """``GET /v1/caller`` of the orchestrator.

    Args:
        url: where its REST API is, without ``/v1``.
        ca_file: the authority of its certificate; None for the system's.
        timeout_s: of one question.
    """

    def __init__(self, url: str, ca_file: Path | None = None, timeout_s: float = 5.0) -> None:
        self._url = f"{url.rstrip('/')}/v1/caller"
        try:
            verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
        except OSError as error:
            raise PreconditionError(f"the authority {ca_file} cannot be read: {error}") from error
        # Tokens do not go through a proxy that the environment happens to name.
        self._client = httpx.AsyncClient(timeout=timeout_s, verify=verify, trust_env=False)

    async def ask(self, token: str, address: str) -> Caller | None:
        """See ``Authority``. The address is told too, for the orchestrator's own limits."""
        headers = {"authorization": f"Bearer {token}", "x-forwarded-for": address}
        try:
            answer = await self._client.get(self._url, headers=headers)
        except httpx.HTTPError as error:
            raise NotReadyError(f"the orchestrator cannot be asked: {type(error).__name__}") from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            return None
        if answer.status_code == httpx.codes.FORBIDDEN:
            return Caller("", frozenset())
        if answer.status_code != httpx.codes.OK:
            raise NotReadyError(f"the orchestrator answered {answer.status_code}")
        try:
            body: dict[str, Any] = answer.json()
            return Caller(str(body["name"]), frozenset(map(str, body["scopes"])))
        except (ValueError, KeyError, TypeError) as error:
            raise NotReadyError("the orchestrator's answer is not of its API; check the URL") from error

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller | None
    checked_s: float


class Callers:
    """Admits callers of the HTTP face. Lives in one event loop.

    Args:
        authority: who is asked.
        grace_s: seconds since its last good answer for which a caller goes on while the authority is away.
        now: a clock in seconds.
    """

    def __init__(
        self, authority: Authority, *, grace_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._authority = authority
        self._grace_s = grace_s
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def admit(self, authorization: str, address: str) -> Caller:
        """The caller of a request, by its Authorization header.

        Raises:
            UnauthenticatedError: no token, or one that is nobody's.
            ForbiddenError: the scope ``infer`` is missing.
            OverloadedError: too many wrong tokens from this address.
            NotReadyError: the orchestrator is away, and the token is not known here.
        """
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii() or len(token) > _LONGEST_TOKEN:
            raise UnauthenticatedError(f"this needs a credential: {_REMEDY}")
        caller = await self._caller(token, address)
        if caller is None:
            self._count_wrong(address)
            raise UnauthenticatedError(f"the credential is not valid: {_REMEDY}")
        if not caller.scopes & _ALLOWED:
            has = ", ".join(sorted(caller.scopes)) or "none"
            raise ForbiddenError(f"this needs the scope 'infer'; the credential has {has}")
        return caller

    async def _caller(self, token: str, address: str) -> Caller | None:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        now = self._now()
        if known is not None:
            self._known.move_to_end(digest)
            if now - known.checked_s < (FRESH_S if known.caller else WRONG_S):
                return known.caller
        if known is None or known.caller is None:
            self._check_wrong(address)
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(digest, token, address))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        try:
            return await asyncio.shield(task)
        except NotReadyError as error:
            HTTP_CREDENTIAL_CHECKS.labels("away").inc()
            if known is not None and known.caller is not None and now - known.checked_s < self._grace_s:
                return known.caller
            log.warning("credential.not_checked", reason=error.message)
            raise NotReadyError(
                "credentials cannot be checked now, because the orchestrator is away; try again"
            ) from error

    async def _ask(self, digest: bytes, token: str, address: str) -> Caller | None:
        caller = await self._authority.ask(token, address)
        HTTP_CREDENTIAL_CHECKS.labels("valid" if caller else "wrong").inc()
        self._known[digest] = _Known(caller, self._now())
        self._known.move_to_end(digest)
        while len(self._known) > MOST_REMEMBERED:
            # Strangers' tokens must not push out the callers': those go first.
            oldest = next((key for key, one in self._known.items() if one.caller is None), None)
            self._known.pop(oldest if oldest is not None else next(iter(self._known)))
        return caller

    def _check_wrong(self, address: str) -> None:
        begun_s, count = self._wrong.get(address, (0.0, 0))
        left_s = begun_s + _MINUTE_S - self._now()
        if left_s > 0 and count >= MOST_WRONG_PER_MINUTE:
            raise OverloadedError(
                f"{address or 'this address'} has sent {count} credentials that were not valid; wait",
                details={"retry_after_s": max(1, round(left_s + 0.5))},
            )

    def _count_wrong(self, address: str) -> None:
        begun_s, count = self._wrong.pop(address, (0.0, 0))
        if self._now() - begun_s >= _MINUTE_S:
            begun_s, count = self._now(), 0
        self._wrong[address] = (begun_s, count + 1)
        if len(self._wrong) > MOST_REMEMBERED:
            self._wrong.popitem(last=False)
