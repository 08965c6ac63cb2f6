"""OpenID Connect: tokens of an issuer (RFC 7519, RFC 8414), checked by its public keys.

Only signatures by a key pair are taken: a token without one, or signed by a shared secret, is refused
whatever its header says. The issuer's keys are kept and fetched again at a bounded rate, so that tokens with
made-up key ids cannot have us ask the issuer in a loop.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any

import httpx
import jwt
import structlog

from services.common.errors import NotReadyError, UnauthenticatedError
from services.orchestrator.identity import Principal, Scope

log = structlog.get_logger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SCOPE_PREFIX = "valign:"
LEEWAY_S = 30.0
_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
_FRESH_S = 300.0
"""Keys younger than this are not asked for again, unless a key id is unknown."""
_LONGEST_KEPT_S = 86_400.0
"""Keys older than this are not trusted: the issuer may have withdrawn them."""
_FETCH_EVERY_S = 30.0
_RETRY_S = 2.0
_FETCH_S = 5.0
_MOST_BYTES = 1 << 20
_MOST_TOKEN_CHARACTERS = 16_384
_LONGEST_NAME = 255


class IssuerKeys:
    """The issuer's public keys by key id. One fetch at a time; ``aclose`` at the end."""

    def __init__(self, issuer: str, jwks_url: str = "", *, fetch_every_s: float = _FETCH_EVERY_S) -> None:
        """Without ``jwks_url`` the issuer's discovery document names it."""
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._fetch_every_s = fetch_every_s
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = -float("inf")
        self._failed = ""
        self._lock = asyncio.Lock()
        self._http = httpx.AsyncClient(timeout=_FETCH_S, follow_redirects=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, key_id: str) -> jwt.PyJWK:
        """The key. UnauthenticatedError if the issuer has none of this id; NotReadyError if it is away."""
        if not self._settled(key_id):
            async with self._lock:
                # Whoever waited for the lock may find that it was fetched meanwhile.
                if not self._settled(key_id):
                    await self._refresh()
        age_s = time.monotonic() - self._fetched_at
        if (key := self._keys.get(key_id)) is not None and age_s < _LONGEST_KEPT_S:
            return key
        if self._failed or age_s >= _LONGEST_KEPT_S:
            raise NotReadyError(f"the keys of {self._issuer} cannot be fetched ({self._failed}); try again")
        raise UnauthenticatedError(f"the token's key is none of {self._issuer}'s")

    def _settled(self, key_id: str) -> bool:
        """Whether to answer with what is here."""
        now = time.monotonic()
        if now - self._asked_at < (_RETRY_S if self._failed else self._fetch_every_s):
            return True
        return key_id in self._keys and now - self._fetched_at < _FRESH_S

    async def _refresh(self) -> None:
        self._asked_at = time.monotonic()
        try:
            url = self._jwks_url or await self._discover()
            keys = _public_keys((await self._fetch(url)).get("keys"))
        except (httpx.HTTPError, ValueError) as error:
            self._failed = f"{type(error).__name__}: {error}"[:200]
            log.warning("oidc.keys_not_fetched", issuer=self._issuer, error=self._failed)
            return
        self._keys, self._failed, self._fetched_at = keys, "", time.monotonic()
        log.info("oidc.keys_fetched", issuer=self._issuer, keys=len(keys))

    async def _discover(self) -> str:
        """The discovery document's ``jwks_uri``; the document must be of this very issuer."""
        document = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise ValueError(f"the discovery document is of issuer {str(document.get('issuer'))[:100]!r}")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ValueError("the discovery document names no jwks_uri")
        if self._issuer.startswith("https://") and not url.startswith("https://"):
            raise ValueError("the discovery document names a jwks_uri without TLS")
        return url

    async def _fetch(self, url: str) -> dict[str, Any]:
        async with self._http.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise ValueError(f"{url} answered {answer.status_code}")
            data = b""
            async for part in answer.aiter_bytes():
                data += part
                if len(data) > _MOST_BYTES:
                    raise ValueError(f"{url} sent more than {_MOST_BYTES} bytes")
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"{url} sent no JSON object")
        return document


class OidcTokens:
    """Checks tokens of one issuer for one audience."""

    def __init__(self, keys: IssuerKeys, issuer: str, audience: str, scope_claim: str = "scope") -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._scope_claim = scope_claim

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        await self._keys.aclose()

    async def principal_of(self, token: str) -> Principal:
        """Whose token it is, with the scopes that its claim names as ``valign:<scope>``.

        UnauthenticatedError: not signed by the issuer, not for us, or not now. NotReadyError: the issuer's
        keys cannot be had.
        """
        if len(token) > _MOST_TOKEN_CHARACTERS:
            raise UnauthenticatedError(f"the token has more than {_MOST_TOKEN_CHARACTERS} characters")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise UnauthenticatedError(
                "the bearer token is neither an API key nor a JSON web token"
            ) from error
        key_id, algorithm = header.get("kid"), header.get("alg")
        # Before a key is looked for: what is not allowed needs none.
        if algorithm not in ALGORITHMS:
            raise UnauthenticatedError(
                f"the token is signed by {str(algorithm)[:20]!r}; allowed are {', '.join(ALGORITHMS)}"
            )
        if not isinstance(key_id, str) or not key_id:
            raise UnauthenticatedError("the token names no key (kid)")
        key = await self._keys.get(key_id)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise UnauthenticatedError(f"the token is not valid: {error}"[:300]) from error
        return Principal(self._name(claims["sub"]), scopes_of(claims.get(self._scope_claim)))

    def _name(self, subject: Any) -> str:
        name = f"oidc:{self._issuer}|{subject}"
        # Names stand in the audit log whole: one that is cut could be somebody else's.
        printable = isinstance(subject, str) and bool(subject) and subject.isprintable()
        if not printable or len(name) > _LONGEST_NAME:
            raise UnauthenticatedError(
                f"the token's subject is empty, not printable, or longer than {_LONGEST_NAME} characters with"
                " its issuer"
            )
        return name


def scopes_of(claim: Any) -> frozenset[Scope]:
    """The scopes that a claim names: words of a text, or a list. What is not ours is passed over."""
    words: Iterable[Any] = (
        claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    )
    known = {f"{SCOPE_PREFIX}{scope.value}": scope for scope in Scope}
    return frozenset(known[word] for word in words if isinstance(word, str) and word in known)


def _public_keys(listed: Any) -> dict[str, jwt.PyJWK]:
    """Signing keys by id; one that we cannot use is left out."""
    if not isinstance(listed, list):
        raise ValueError("the issuer's keys are no JSON web key set")
    keys: dict[str, jwt.PyJWK] = {}
    for item in listed:
        if not isinstance(item, dict) or item.get("kty") not in _KEY_TYPES or item.get("use") == "enc":
            continue
        key_id = item.get("kid")
        try:
            if isinstance(key_id, str):
                keys[key_id] = jwt.PyJWK(item)
        except (jwt.PyJWTError, ValueError) as error:
            log.warning("oidc.key_left_out", error=str(error)[:200])
    return keys
