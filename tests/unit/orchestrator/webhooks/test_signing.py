"""Secrets that are derived, and signatures by them."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common.errors import PreconditionError
from services.common.redact import redact
from services.orchestrator.webhooks.signing import SecretBox, key_file, no_key, sign

OLD, NEW = "an old key of thirty-two letters.", "a new key of thirty-two letters.."


def test_sign_equals_the_example_of_the_specification() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secret_is_found_again_and_differs_between_webhooks_and_keys() -> None:
    box = SecretBox(lambda: [NEW])
    one, other = box.new(), box.new()
    assert SecretBox(lambda: [NEW]).secret_of(one) == box.secret_of(one)
    assert box.secret_of(one) != box.secret_of(other)
    prefix, _, encoded = box.secret_of(one).partition("_")
    assert (prefix, len(base64.b64decode(encoded))) == ("whsec", 32)
    assert base64.b64decode(encoded) == box.key_of(one)


def test_former_keys_find_their_secrets_and_make_none() -> None:
    before = SecretBox(lambda: [OLD])
    seed = before.new()
    after = SecretBox(lambda: [NEW, OLD])
    assert after.secret_of(seed) == before.secret_of(seed)
    assert after.new().key_id != seed.key_id
    with pytest.raises(PreconditionError, match="_FORMER_KEYS"):
        SecretBox(lambda: [NEW]).key_of(seed)


def test_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "webhook.key"
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(lambda _: key_file(path), range(16)))
    assert len(keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["webhook.key"]
    assert keys.pop() not in redact(path.read_text())


def test_key_file_that_is_no_key_or_cannot_be_made_says_so(tmp_path: Path) -> None:
    short = tmp_path / "short.key"
    short.write_text("abc")
    with pytest.raises(PreconditionError, match="holds no key"):
        key_file(short)
    with pytest.raises(PreconditionError, match="cannot be kept"):
        key_file(short / "below-a-file")
    with pytest.raises(PreconditionError, match="VALIGN_ORCHESTRATOR_WEBHOOK_KEY"):
        no_key()


def test_secret_in_a_text_is_redacted() -> None:
    box = SecretBox(lambda: [NEW])
    secret = box.secret_of(box.new())
    assert redact(f"the secret {secret}, it was") == "the secret [redacted], it was"
