"""Tokens of an OpenID Connect issuer: a real HTTP issuer, real keys, and both faces in front."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from services.common.errors import NotReadyError, UnauthenticatedError
from services.orchestrator.access import oidc
from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.access.oidc import IssuerKeys, OidcTokens, scopes_of
from services.orchestrator.api import build_http_app
from services.orchestrator.identity import Scope
from tests.fakes.issuer import AUDIENCE, Issuer, new_key
from tests.fakes.orchestrator import world
from tests.fakes.servers import http_server


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    made.add("k1")
    async with http_server(made.app()) as url:
        made.url = url
        yield made


@pytest.fixture
async def tokens(issuer: Issuer) -> AsyncIterator[OidcTokens]:
    made = OidcTokens(IssuerKeys(issuer.url), issuer.url, AUDIENCE)
    yield made
    await made.aclose()


def _unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)
    )
    return ".".join([*parts, ""])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_token_of_the_issuer_is_its_subject_with_its_scopes(
    issuer: Issuer, tokens: OidcTokens, algorithm: str
) -> None:
    issuer.add("mine", algorithm)
    found = await tokens.principal_of(issuer.token("mine", scope="openid valign:read valign:approve"))
    assert found.name == f"oidc:{issuer.url}|alice"
    assert found.scopes == {Scope.READ, Scope.APPROVE}


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://another.example"},
        {"iss": None},
        {"exp": time.time() - 60},
        {"exp": None},
        {"nbf": time.time() + 3600},
        {"exp": "soon"},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 300},
    ],
)
async def test_token_that_is_not_for_us_or_not_now_is_refused(
    issuer: Issuer, tokens: OidcTokens, changes: dict[str, Any]
) -> None:
    with pytest.raises(UnauthenticatedError):
        await tokens.principal_of(issuer.token(**changes))


async def test_clocks_may_differ_by_half_a_minute(issuer: Issuer, tokens: OidcTokens) -> None:
    await tokens.principal_of(issuer.token(exp=time.time() - 20, nbf=time.time() + 20))


async def test_token_without_a_signature_or_by_a_shared_secret_is_refused(
    issuer: Issuer, tokens: OidcTokens
) -> None:
    claims = issuer.claims()
    public = issuer.keys["k1"][1].public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    issuer.extra_keys.append({"kty": "oct", "kid": "shared", "k": secret, "alg": "HS256"})
    header = {"alg": "HS256", "kid": "k1", "typ": "JWT"}
    import hmac

    def signed_by(key: bytes, header: dict[str, Any]) -> str:
        signing = _unsigned(header, claims).rsplit(".", 1)[0]
        digest = hmac.digest(key, signing.encode(), "sha256")
        return f"{signing}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"

    forged = {
        "none": _unsigned({"alg": "none", "kid": "k1"}, claims),
        "None": _unsigned({"alg": "None", "kid": "k1"}, claims),
        "no alg": _unsigned({"kid": "k1"}, claims),
        "public key as secret": signed_by(pem, header),
        "shared": signed_by(b"s" * 32, {**header, "kid": "shared"}),
        "shared, said to be RSA": signed_by(b"s" * 32, {"alg": "RS256", "kid": "shared"}),
        "another's key": jwt.encode(claims, new_key("RS256"), algorithm="RS256", headers={"kid": "k1"}),
        "other kind of key": jwt.encode(claims, new_key("ES256"), algorithm="ES256", headers={"kid": "k1"}),
        "no kid": jwt.encode(claims, issuer.keys["k1"][1], algorithm="RS256"),
        "changed": issuer.token()[:-6] + "AAAAAA",
        "garbage": "a.b.c",
        "empty": "",
        "huge": "a" * 20_000,
    }
    for what, token in forged.items():
        with pytest.raises(UnauthenticatedError):
            found = await tokens.principal_of(token)
            pytest.fail(f"{what} was taken for {found}")
    await tokens.principal_of(issuer.token())


async def test_unknown_key_ids_do_not_have_us_ask_the_issuer_in_a_loop(
    issuer: Issuer, tokens: OidcTokens
) -> None:
    await tokens.principal_of(issuer.token())
    forged = [
        jwt.encode(issuer.claims(), issuer.keys["k1"][1], algorithm="RS256", headers={"kid": f"made-up-{n}"})
        for n in range(50)
    ]
    found = await asyncio.gather(*(tokens.principal_of(token) for token in forged), return_exceptions=True)
    assert {type(error) for error in found} == {UnauthenticatedError}
    assert issuer.asked.count("keys") == 1
    await tokens.principal_of(issuer.token())


async def test_key_that_is_new_is_found_once_the_bound_has_passed(issuer: Issuer) -> None:
    keys = IssuerKeys(issuer.url, f"{issuer.url}/keys", fetch_every_s=0.2)
    tokens = OidcTokens(keys, issuer.url, AUDIENCE)
    await tokens.principal_of(issuer.token())
    issuer.add("k2")
    with pytest.raises(UnauthenticatedError):
        await tokens.principal_of(issuer.token("k2"))
    await asyncio.sleep(0.25)
    await tokens.principal_of(issuer.token("k2"))
    assert issuer.asked == ["keys", "keys"]
    await tokens.aclose()


async def test_issuer_that_is_away_is_not_ready_and_known_keys_go_on(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_RETRY_S", 0.05)
    tokens = OidcTokens(IssuerKeys(issuer.url, fetch_every_s=0.05), issuer.url, AUDIENCE)
    issuer.status = 503
    for _ in range(3):
        with pytest.raises(NotReadyError, match="try again"):
            await tokens.principal_of(issuer.token())
    assert len(issuer.asked) < 3
    issuer.status = 200
    await asyncio.sleep(0.1)
    await tokens.principal_of(issuer.token())
    issuer.status = 503
    monkeypatch.setattr(oidc, "_FRESH_S", 0.0)
    await asyncio.sleep(0.1)
    await tokens.principal_of(issuer.token())
    await tokens.aclose()


async def test_discovery_of_another_issuer_is_not_believed(issuer: Issuer, tokens: OidcTokens) -> None:
    issuer.told_issuer = "https://another.example"
    with pytest.raises(NotReadyError, match=r"another\.example"):
        await tokens.principal_of(issuer.token())
    assert issuer.asked == ["discovery"]


def test_scopes_of_claims() -> None:
    assert scopes_of("openid valign:run valign:root run") == {Scope.RUN}
    assert scopes_of(["valign:admin", 3, None]) == {Scope.ADMIN}
    for claim in (None, "", 3, {"valign:admin": 1}, "admin", "VALIGN:ADMIN", "valign:"):
        assert scopes_of(claim) == frozenset()


async def test_tokens_and_keys_open_the_rest_face_by_their_scopes(issuer: Issuer, tmp_path: Path) -> None:
    tokens = OidcTokens(IssuerKeys(issuer.url), issuer.url, AUDIENCE, "groups")
    with world(tmp_path) as here:
        access = Access(required=True, keys=ApiKeys(here.store.api_keys), oidc=tokens)
        async with (
            http_server(build_http_app(here.application, access=access)) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):

            async def caller(**claims: Any) -> httpx.Response:
                headers = {"authorization": f"Bearer {issuer.token(**claims)}"}
                return await client.get("/v1/caller", headers=headers)

            found = await caller(groups=["valign:read"])
            assert found.json() == {"name": f"oidc:{issuer.url}|alice", "scopes": ["read"]}
            assert (await caller(groups=["staff"])).status_code == 403
            assert (await caller(groups=["valign:read"], aud="another")).status_code == 401
            wrong_key = await client.get("/v1/caller", headers={"authorization": "Bearer valign_x"})
            assert wrong_key.status_code == 401
    await tokens.aclose()
    with world(tmp_path) as here:
        away = OidcTokens(IssuerKeys("http://127.0.0.1:1"), issuer.url, AUDIENCE)
        access = Access(required=True, keys=ApiKeys(here.store.api_keys), oidc=away)
        async with (
            http_server(build_http_app(here.application, access=access)) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            answer = await client.get("/v1/caller", headers={"authorization": f"Bearer {issuer.token()}"})
            assert (answer.status_code, answer.json()["code"]) == (503, "NOT_READY")
        await away.aclose()
