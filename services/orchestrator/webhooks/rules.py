"""What a webhook may be: its URL, the events that it names, its text. Pure."""

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from services.common.errors import InvalidInputError
from services.common.settings import is_loopback
from services.orchestrator.event_types import EVENT_TYPES, TEST

MAX_URL_CHARACTERS = 2000
MAX_EVENT_TYPES = 50
MAX_DESCRIPTION_CHARACTERS = 500
_PATTERN = re.compile(r"[a-z0-9_.*]{1,80}")
_SETTING = "VALIGN_ORCHESTRATOR_WEBHOOK_ALLOWED_HOSTS"


def host_of(url: str) -> str:
    """Host and port: what the audit log and log lines say of a URL, whose path may hold a token."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def matches(patterns: Iterable[str], kind: str) -> bool:
    """Whether one of the names or patterns (``*``) means this kind of event. ``*`` alone is every kind."""
    return any(fnmatchcase(kind, pattern) for pattern in patterns)


def checked_event_types(patterns: Collection[str]) -> tuple[str, ...]:
    """Each once, as they came; InvalidInputError for one that no known kind of event fits."""
    kinds = [kind for kind in EVENT_TYPES if kind != TEST]
    if not patterns or len(patterns) > MAX_EVENT_TYPES:
        raise InvalidInputError(
            f"event_types holds 1 to {MAX_EVENT_TYPES} names or patterns, such as run.ended, run.* or *;"
            f" these are {len(patterns)}"
        )
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern) or not any(fnmatchcase(kind, pattern) for kind in kinds):
            raise InvalidInputError(
                f"event_types names {pattern[:80]!r}, which no event fits; there are {', '.join(kinds)},"
                " and patterns of them such as run.* or *"
            )
    return tuple(dict.fromkeys(patterns))


def checked_description(text: str) -> str:
    """InvalidInputError for one that is too long or has control characters in it."""
    if len(text) > MAX_DESCRIPTION_CHARACTERS:
        raise InvalidInputError(
            f"description has {len(text)} characters; at most {MAX_DESCRIPTION_CHARACTERS} are kept"
        )
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise InvalidInputError("description has control characters in it; write one line of plain text")
    return text


class UrlRules:
    """Which URLs a webhook may have.

    Args:
        allowed_hosts: ``host`` (any port) or ``host:port``. With a list, only those, over http too and at
            addresses of a private network; without, any host with public addresses.
        local: nobody is asked for a credential, so that whoever calls is on this machine: loopback
            addresses are allowed too, written as such.
    """

    def __init__(self, allowed_hosts: Collection[str] = (), *, local: bool = False) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._local = local

    def check(self, url: str) -> str:
        """The URL; InvalidInputError says what is wrong with it."""
        if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
            raise InvalidInputError(
                f"url is at most {MAX_URL_CHARACTERS} printable ASCII characters without blanks"
            )
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise InvalidInputError(f"url is not one: {error}") from None
        if parts.scheme not in ("https", "http") or not host or port == 0:
            raise InvalidInputError("url must be an https:// URL with a host")
        if parts.username is not None or parts.password is not None:
            raise InvalidInputError(
                "url must hold no user or password; deliveries are signed, and a token can stand in the path"
            )
        if parts.fragment:
            raise InvalidInputError("url must have no fragment (#…): it would never be sent")
        if self._allowed and not self.trusts(url):
            raise InvalidInputError(
                f"url names {host_of(url)}, which webhooks may not call; whoever runs the orchestrator adds"
                f" the host to {_SETTING}"
            )
        if parts.scheme == "http" and not self.trusts(url):
            raise InvalidInputError(
                "url must be https:// : events would travel in the clear; whoever runs the orchestrator may"
                f" allow the host in {_SETTING}"
            )
        return url

    def trusts(self, url: str) -> bool:
        """Whether the host may have private and loopback addresses, and be spoken to without TLS."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
        listed = host in self._allowed or f"{host}:{host_of(url).rpartition(':')[2]}" in self._allowed
        return listed or (self._local and not self._allowed and is_loopback(host))
