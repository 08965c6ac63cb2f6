"""Secrets taken out of text before a person, a log or a caller sees it.

Two ways at once: what looks like a secret (bearer tokens, our own keys, JSON web tokens, passwords in URLs),
and what is known to be one, because a setting holds it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SHOWN = "[redacted]"
_SHORTEST_KNOWN = 6
# A word in a field's name that says that its value is a secret.
_SECRET_NAME = re.compile(
    r"(?i)authorization|password|passwd|secret(?!_?(id|sha))|(^|_|-)(api_?key|token|endpoint_keys|cookie)$"
)
# Every pattern is linear, or bounded: a hostile text must not make a log line take seconds.
_OUR_KEY = re.compile(r"valign_[0-9a-f]{12}_[A-Za-z0-9_-]{8,}")
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{8,}={0,2}")
_JSON_WEB_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_CREDENTIAL = re.compile(r"(?i)\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=:-]{6,}")
_HEADER = re.compile(
    r"(?i)((?:proxy-)?authorization\\?[\"']?\s*[:=,]\s*b?\\?[\"']?)(?!bearer|basic|\[redacted)[^\s\"',;\\]+"
)
# user:password@ after a scheme. A password may hold '/', as drivers accept it; a quote or a blank ends it.
_URL_PASSWORD = re.compile(r"(://[^\s/:@\"'<>]{0,128}:)([^\s\"'<>]{1,512})(@)")
_QUERY_PASSWORD = re.compile(r"(?i)([?&](?:password|passwd|token|api_?key|secret)=)[^\s&\"'<>]+")

_known: list[str] = []


def know_secrets(values: Iterable[str]) -> None:
    """Take these texts out of everything from now on, wherever they stand (six characters and longer)."""
    for value in values:
        if len(value) >= _SHORTEST_KNOWN and value not in _known:
            # As it is, and as JSON and Python write it.
            _known.extend({value, json.dumps(value)[1:-1], repr(value)[1:-1]})
    _known.sort(key=len, reverse=True)


def redact(text: str) -> str:
    """``text`` without what is, or looks like, a secret."""
    for value in _known:
        if value in text:
            text = text.replace(value, SHOWN)
    text = redact_keys(text)
    text = _JSON_WEB_TOKEN.sub(SHOWN, text)
    text = _CREDENTIAL.sub(lambda found: f"{found[1]} {SHOWN}", text)
    return _HEADER.sub(lambda found: found[1] + SHOWN, text)


def redact_keys(text: str) -> str:
    """Only what can be nothing else: our own keys, and passwords in URLs. For what callers are told."""
    text = _WEBHOOK_SECRET.sub(SHOWN, _OUR_KEY.sub(SHOWN, text))
    text = _URL_PASSWORD.sub(lambda found: found[1] + SHOWN + found[3], text)
    return _QUERY_PASSWORD.sub(lambda found: found[1] + SHOWN, text)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def redacted(value: Any) -> Any:
    """A copy of JSON-like data: values under a secret's name are gone, texts are redacted."""
    match value:
        case str():
            return redact(value)
        case bytes():
            return redact(value.decode("utf-8", "backslashreplace"))
        case Mapping():
            return {
                key: SHOWN if isinstance(key, str) and is_secret_name(key) and item else redacted(item)
                for key, item in value.items()
            }
        case tuple() | list():
            return _sequence(value)
        case _:
            return value


def _sequence(value: Sequence[Any]) -> list[Any]:
    # A header is a pair of name and value.
    if len(value) == 2 and isinstance(value[0], str | bytes):
        name = value[0].decode("latin-1") if isinstance(value[0], bytes) else value[0]
        if is_secret_name(name):
            return [name, SHOWN]
    return [redacted(item) for item in value]
