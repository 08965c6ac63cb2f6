"""Secrets of webhooks, and signatures by them (Standard Webhooks, https://www.standardwebhooks.com).

A secret is derived, not stored: HKDF-SHA256 (RFC 5869) over the installation's key and a random nonce that
the database keeps. Whoever reads the database alone can sign nothing.
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.common.errors import PreconditionError
from services.common.redact import know_secrets
from services.orchestrator.settings import MIN_KEY_CHARACTERS
from services.orchestrator.webhooks.records import SecretSeed

PREFIX = "whsec_"
_SECRET_BYTES = 32
_SALT = b"valign webhook secret v1"
_SETTING = "VALIGN_ORCHESTRATOR_WEBHOOK_KEY"


class SecretBox:
    """Makes secrets and finds them again.

    Args:
        keys: called when the first secret is needed: the installation's key first, then former ones, whose
            secrets are still found.
    """

    def __init__(self, keys: Callable[[], Iterable[str]]) -> None:
        self._read = keys
        self._keys: dict[str, bytes] = {}

    def new(self) -> SecretSeed:
        """A seed of a secret that nobody has had before."""
        return SecretSeed(secrets.token_hex(16), next(iter(self._known())))

    def key_of(self, seed: SecretSeed) -> bytes:
        """The 32 bytes that sign. PreconditionError if the settings no longer hold the key behind them."""
        key = self._known().get(seed.key_id)
        if key is None:
            raise PreconditionError(
                f"the webhook's secret was made from another key than {_SETTING}: put that key into"
                f" {_SETTING.replace('_KEY', '_FORMER_KEYS')}, or rotate the webhook's secret"
            )
        info = seed.nonce.encode("ascii")
        return HKDF(algorithm=SHA256(), length=_SECRET_BYTES, salt=_SALT, info=info).derive(key)

    def secret_of(self, seed: SecretSeed) -> str:
        """As its receiver is shown it, once: ``whsec_`` and base64."""
        return PREFIX + base64.b64encode(self.key_of(seed)).decode("ascii")

    def _known(self) -> dict[str, bytes]:
        if not self._keys:
            self._keys = {_id_of(key): key.encode("utf-8") for key in self._read()}
        return self._keys


def sign(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one signature a key, with blanks between them.

    Args:
        keys: the secret's bytes, the present one first.
        message_id: header ``webhook-id``.
        timestamp: header ``webhook-timestamp``, in seconds since 1970.
        body: as it is sent.
    """
    signed = f"{message_id}.{timestamp}.".encode("ascii") + body
    made = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii") for key in keys)
    return " ".join(f"v1,{signature}" for signature in made)


def key_file(path: Path) -> str:
    """The key in a file that only its owner may read, made at the first call.

    PreconditionError if it cannot be read or made.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Complete under another name first: of two processes that make it at once, one wins.
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise PreconditionError(
            f"the key of the webhooks' secrets cannot be kept in {path} ({error.strerror}); set {_SETTING}"
        ) from error
    if len(key) < MIN_KEY_CHARACTERS:
        raise PreconditionError(f"{path} holds no key of {MIN_KEY_CHARACTERS} characters; set {_SETTING}")
    know_secrets([key])
    return key


def no_key() -> str:
    """For a database that several orchestrators may share: a file beside one of them would not do."""
    raise PreconditionError(
        f"webhooks need a key that their secrets are made from: set {_SETTING} to {MIN_KEY_CHARACTERS} or"
        " more random characters, the same on every orchestrator"
    )


def _id_of(key: str) -> str:
    return hashlib.sha256(b"valign webhook key id\0" + key.encode("utf-8")).hexdigest()[:16]
