"""Secrets never come out of a log, whichever way they went in."""

import base64
import io
import json
import logging
import string
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common import redact as module
from services.common.logs import configure_logging
from services.common.redact import is_secret_name, know_secrets, redact, redact_keys, redacted

_URL_SAFE = string.ascii_letters + string.digits + "-_"
_TOKEN = string.ascii_letters + string.digits + "-._~+/"
secrets = st.text(_URL_SAFE, min_size=43, max_size=43)
opaque = st.text(_TOKEN, min_size=16, max_size=60)
passwords = st.text(string.ascii_letters + string.digits + "!$&()*+,;=-._~/%?#", min_size=12, max_size=40)


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Logging and known secrets as they were."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, list(module._known), structlog.get_config()
    yield
    root.handlers[:], root.level = before[0], before[1]
    module._known[:] = before[2]
    structlog.configure(**before[3])
    structlog.contextvars.clear_contextvars()


def everything_that_is_logged(fmt: str, values: list[Any], name: str) -> str:
    """What comes out if each value goes in by every way there is."""
    stream = io.StringIO()
    stderr, sys.stderr = sys.stderr, stream
    try:
        configure_logging("test", "debug", fmt)
        log = structlog.get_logger("valign.test")
        foreign = logging.getLogger("a.library")
        for value in values:
            log.info(f"event with {value}")
            log.info("event", field=value, nested={"deep": [value, {"er": (value,)}]}, **{name: value})
            log.info("event", headers={"Authorization": value}, pairs=[("authorization", value)])
            log.info("event", raw=str(value).encode(), shown=repr(value), odd=_Odd(value))
            foreign.warning("library says %s and %r", value, value)
            foreign.warning(f"library says {value}")
            with structlog.contextvars.bound_contextvars(bound=value):
                log.info("event")
            try:
                raise ValueError(f"failed with {value}") from KeyError(value)
            except ValueError:
                log.exception("event", why="trace")
                foreign.exception("trace")
    finally:
        sys.stderr = stderr
    return stream.getvalue()


class _Odd:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"<odd {self._value}>"


@settings(max_examples=25)
@given(secret=secrets, token=opaque, password=passwords, fmt=st.sampled_from(["json", "text"]))
def test_random_secrets_never_appear_in_any_log_path(
    secret: str, token: str, password: str, fmt: str
) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    web_token = f"{header}.{secret}.{secret[::-1]}"
    values = [
        f"valign_0123456789ab_{secret}",
        f"Bearer {token}",
        f"Authorization: Bearer {token}",
        f"authorization: {token}",
        f"Basic {secret}",
        web_token,
        f"postgresql+psycopg://valign:{password}@db.example:5432/valign",
        f"redis://:{password}@cache",
        f"https://api.example/v1?api_key={secret}",
    ]
    out = everything_that_is_logged(fmt, values, "note")
    for gone in (secret, secret[::-1], token, password):
        assert gone not in out
    assert "db.example:5432/valign" in out


@settings(max_examples=15)
@given(
    secret=st.text(st.characters(exclude_categories=("C", "Z")), min_size=6, max_size=30),
    fmt=st.sampled_from(["json", "text"]),
)
def test_secret_that_a_setting_holds_never_appears_whatever_it_is(secret: str, fmt: str) -> None:
    marked = f"q{secret}9Z"
    know_secrets([marked])
    out = everything_that_is_logged(fmt, [marked, {"x": marked}, f"a {marked} b"], "note")
    assert marked not in out
    assert json.dumps(marked)[1:-1] not in out


NAMES = ("password", "api_key", "Authorization", "client_secret", "token", "db_password", "endpoint_keys")


@given(value=st.text(string.ascii_letters, min_size=8, max_size=20), name=st.sampled_from(NAMES))
def test_field_of_a_secrets_name_is_gone_whatever_it_holds(value: str, name: str) -> None:
    assert is_secret_name(name)
    assert value not in json.dumps(redacted({"outer": [{name: value}], name: [value]}))


def test_what_is_no_secret_stays() -> None:
    for text in (
        "run r-20261121-k3m9qx ended",
        "http://127.0.0.1:8080/v1/runs?page=2",
        "valign_orchestrator_http_requests_total",
        "prompt_tokens: 12, completion_tokens: 5",
        "secret_sha256 of api_key key_id=5e1d0c2b9a47",
        "sqlite:////home/user/valign.db",
        "mail a@b.example about it",
    ):
        assert redact(text) == text
    data = {"tokens": 5, "key_id": "5e1d", "prompt_tokens": 3, "path": ["a", "b"], "none": None}
    assert redacted(data) == data


def test_redact_keys_leaves_words_alone() -> None:
    assert redact_keys("send `Authorization: Bearer <API key>`") == "send `Authorization: Bearer <API key>`"
    assert "pw" not in redact_keys("postgresql://u:pw-12@h/x").replace("password", "")


@pytest.mark.parametrize(
    "part", ["x", "://a:", "eyJ", "-eyJaaaaaa", "valign_", "bearer ", "authorization: ", "a:b@", "?token="]
)
def test_hostile_text_costs_no_time(part: str) -> None:
    started = time.perf_counter()
    redact(part * (200_000 // len(part)))
    assert time.perf_counter() - started < 5
