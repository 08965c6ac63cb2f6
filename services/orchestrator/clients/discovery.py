"""Where the replicas of a service are: a list that is written down, or what a headless name resolves to."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from services.common.errors import InvalidInputError

log = structlog.get_logger(__name__)

DNS = "dns:///"
EVERY_S = 5.0
"""Seconds between two look-ups of a name, at least."""

_LONGEST_LABEL = 63

Resolve = Callable[[str, int], Awaitable[tuple[str, ...]]]
"""The IP addresses of a host name. OSError if it cannot be asked."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One replica. ``target`` is host:port; ``server_name`` is what its certificate is asked for.

    ``server_name`` is empty where it is the host of ``target``; for an address that a name resolved to it is
    that name, for certificates are made for names.
    """

    target: str
    server_name: str = ""


def parse_targets(text: str) -> tuple[str, ...]:
    """The targets of ``host:port,host:port`` or ``dns:///name:port``, each once.

    Raises:
        InvalidInputError: one of them has no host or no port; it names it and says how to write it.
    """
    targets = tuple(dict.fromkeys(one.strip() for one in text.split(",")))
    for target in targets:
        host, _, port = target.removeprefix(DNS).rpartition(":")
        labels = host.removesuffix(".").split(".")
        if (
            not host
            or "/" in host
            or not all(0 < len(label) <= _LONGEST_LABEL for label in labels)
            or not port.isdecimal()
            or not 0 < int(port) < 65_536
        ):
            raise InvalidInputError(
                f"{target!r} is no address; write host:port, several of them with commas between, or"
                f" {DNS}name:port for every address that a headless name has"
            )
    return targets


def is_many(targets: Sequence[str]) -> bool:
    """Whether there can be more than one replica behind them."""
    return len(targets) > 1 or any(target.startswith(DNS) for target in targets)


async def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """Every IP address that the resolver of this machine knows."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(sorted({str(address[0]) for *_, address in found}))


class Discovery:
    """The addresses of ``targets`` (as ``parse_targets`` takes them), names looked up anew every ``every_s``.

    A name that cannot be resolved keeps the addresses that it had: a resolver that is away for a moment must
    not take healthy replicas away.
    """

    def __init__(self, targets: str, resolve: Resolve = resolve_host, every_s: float = EVERY_S) -> None:
        parsed = parse_targets(targets)
        self._fixed = tuple(Address(target) for target in parsed if not target.startswith(DNS))
        self._names = tuple(target.removeprefix(DNS) for target in parsed if target.startswith(DNS))
        self._resolve = resolve
        self._every_s = every_s
        self._known: dict[str, tuple[Address, ...]] = {}
        self._looked: float | None = None
        self._lock = asyncio.Lock()

    @property
    def fixed(self) -> bool:
        """Whether they never change."""
        return not self._names

    async def addresses(self) -> tuple[Address, ...]:
        """Where the replicas are now; empty while no name has resolved yet."""
        async with self._lock:
            now = time.monotonic()
            if self._names and (self._looked is None or now - self._looked >= self._every_s):
                for name in self._names:
                    await self._look(name)
                self._looked = time.monotonic()
        found = [*self._fixed, *(one for name in self._names for one in self._known.get(name, ()))]
        return tuple(dict.fromkeys(found))

    async def _look(self, name: str) -> None:
        host, _, port = name.rpartition(":")
        try:
            hosts = await self._resolve(host.strip("[]"), int(port))
        except (OSError, UnicodeError) as error:
            log.warning(
                "discovery.failed", host=host, reason=str(error), known=len(self._known.get(name, ()))
            )
            return
        self._known[name] = tuple(Address(_joined(one, port), host) for one in hosts)


def _joined(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
