"""Which hosts a study may have the orchestrator call: without a list, callers could use it as a proxy."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from services.common.errors import InvalidInputError


class EndpointHosts:
    """The hosts, or every host (None)."""

    def __init__(self, hosts: Collection[str] | None) -> None:
        """``hosts`` are ``host`` (any port) or ``host:port``."""
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    def check(self, url: str) -> None:
        """InvalidInputError if the URL's host is not in the list."""
        if self._hosts is None:
            return
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if host not in self._hosts and f"{host}:{port}" not in self._hosts:
            raise InvalidInputError(
                f"endpoint.url names {host[:200]}:{port}, which the orchestrator may not call; whoever"
                " runs it adds the host to VALIGN_ORCHESTRATOR_ENDPOINT_HOSTS (or its key to _ENDPOINT_KEYS)"
            )

    def check_study(self, study: dict[str, Any]) -> None:
        """The same of a resolved study; one without an endpoint passes."""
        endpoint = study.get("endpoint")
        if endpoint:
            self.check(str(endpoint["url"]))
