"""How a client reaches its orchestrator; what the two halves share of it."""

import platform
import ssl
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from services.client.errors import InsecureUrlError, UnexpectedAnswerError, error_of
from services.client.retrying import Retry, retry_after_s

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
LONG_READ_S = 600.0
"""For files that are made when they are asked for."""
SILENCE_S = 60.0
"""A stream sends a comment every few seconds: a minute's silence is a dead connection."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where, as whom, and how patiently."""

    url: str
    token: str = field(default="", repr=False)
    timeout_s: float = 30.0
    verify: bool | ssl.SSLContext = True
    retry: Retry = field(default_factory=Retry)
    user_agent: str = ""
    transport: Any = None

    def options(self) -> dict[str, Any]:
        """What httpx's client is made with. InsecureUrlError: the token would be sent in the open."""
        local = urlsplit(self.url).hostname in LOCAL_HOSTS
        if self.token and self.url.startswith("http://") and not local:
            raise InsecureUrlError(
                f"{self.url} is not https, and the token would be sent where others can read it"
            )
        headers = {"user-agent": self.user_agent or default_user_agent()}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return {
            "base_url": self.url.rstrip("/"),
            "timeout": self.timeout_s,
            "headers": headers,
            "verify": self.verify,
            # A proxy set for the outside must not catch calls to this machine.
            "trust_env": not local,
            "transport": self.transport,
        }


def default_user_agent() -> str:
    """``valign-client/<version> python/<version>``."""
    try:
        own = version("valign")
    except PackageNotFoundError:
        own = "0"
    return f"valign-client/{own} python/{platform.python_version()}"


def raise_for(response: Any) -> None:
    """Raise what an answer (read whole) tells, if it is no success."""
    if response.is_success or response.status_code == 304:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not ("detail" in problem or "title" in problem):
        text = response.content[:200].decode(errors="replace")
        raise UnexpectedAnswerError(
            f"{response.request.url} answered {response.status_code}: {text}", response.status_code
        )
    raise error_of(response.status_code, problem, retry_after_s(response.headers.get("retry-after")))


def asked(values: dict[str, Any]) -> dict[str, Any]:
    """Query parameters without those that ask for nothing, as the API spells them."""
    return {name: _spelt(value) for name, value in values.items() if value not in (None, "")}


def _spelt(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else value


def if_match(etag: str) -> dict[str, str]:
    """The header for an etag as it was seen; none for ""."""
    return {"if-match": '"' + etag.strip('"') + '"'} if etag else {}
