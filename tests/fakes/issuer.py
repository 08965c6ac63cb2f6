"""A small OpenID Connect issuer: real keys, real signatures, a real HTTP server in front of ``app``."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fastapi import FastAPI, Response

AUDIENCE = "valign"
_ALGORITHMS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def new_key(algorithm: str) -> Any:
    """A private key for an algorithm."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


@dataclass
class Issuer:
    """``url`` is set once it is served; ``asked`` are the paths that were fetched."""

    url: str = ""
    issuer: str = ""
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    extra_keys: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    told_issuer: str = ""

    def add(self, key_id: str, algorithm: str = "RS256") -> None:
        """A new key pair, published at once."""
        self.keys[key_id] = (algorithm, new_key(algorithm))

    def token(self, key_id: str = "k1", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token signed by that key; a claim of None is left out."""
        algorithm, key = self.keys[key_id]
        return jwt.encode(
            self.claims(**claims), key, algorithm=algorithm, headers={"kid": key_id, **(headers or {})}
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims that are right, changed."""
        now = time.time()
        right = {
            "iss": self.issuer or self.url,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "scope": "openid valign:run",
        }
        return {name: value for name, value in {**right, **changes}.items() if value is not None}

    def public(self) -> list[dict[str, Any]]:
        """The public keys as JSON web keys."""
        listed = []
        for key_id, (algorithm, key) in self.keys.items():
            data = json.loads(_ALGORITHMS[algorithm].to_jwk(key.public_key()))
            listed.append({**data, "kid": key_id, "use": "sig"})
        return [*listed, *self.extra_keys]

    def app(self) -> FastAPI:
        """Discovery document and keys."""
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        async def discover() -> Any:
            self.asked.append("discovery")
            if self.status != 200:
                return Response("away", self.status)
            return {"issuer": self.told_issuer or self.url, "jwks_uri": f"{self.url}/keys"}

        @app.get("/keys")
        async def keys() -> Any:
            self.asked.append("keys")
            return Response("away", self.status) if self.status != 200 else {"keys": self.public()}

        return app
