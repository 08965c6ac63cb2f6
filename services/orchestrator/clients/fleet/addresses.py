"""Where the replicas are: a list of addresses, and names that are asked for again and again."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from services.common.errors import InvalidInputError

log = structlog.get_logger(__name__)

DNS_PREFIX = "dns:///"
"""As in gRPC's own names: ``dns:///host:port``. Every address of the host is one replica."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host; OSError if it cannot be asked or has none."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One replica. ``server_name``: what its certificate is made out to, where that is not the host."""

    target: str
    server_name: str = ""


def check_target(target: str) -> str:
    """The target itself. InvalidInputError unless it is host:port or dns:///host:port."""
    host, colon, port = target.removeprefix(DNS_PREFIX).rpartition(":")
    if not colon or not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInputError(
            f"{target!r} is no address of a generator: write host:port, or {DNS_PREFIX}host:port for a name"
            " with an address for each replica"
        )
    return target


def split_targets(text: str) -> tuple[str, ...]:
    """The targets of a comma-separated list, each once. InvalidInputError: one of them is none."""
    found = (part.strip() for part in text.split(","))
    return tuple(dict.fromkeys(check_target(part) for part in found if part))


def is_many(targets: Sequence[str]) -> bool:
    """Whether there can be more than one replica behind them."""
    return len(targets) > 1 or any(target.startswith(DNS_PREFIX) for target in targets)


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system's resolver, which asks the cluster's DNS; nothing is kept here."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


class Addresses:
    """The addresses behind the targets, as they are when asked.

    A name that cannot be resolved keeps the addresses that it had: a DNS server that is away must not stop
    replicas that are well. Whether one is well is found out by asking it.
    """

    def __init__(self, targets: Sequence[str], resolve: Resolve = resolve_by_system) -> None:
        self._targets = tuple(targets)
        self._resolve = resolve
        self._last: dict[str, list[Address]] = {}

    @property
    def fixed(self) -> bool:
        """Whether they never change."""
        return not any(target.startswith(DNS_PREFIX) for target in self._targets)

    async def look(self) -> list[Address]:
        """Each once, in the order of the targets."""
        found: dict[str, Address] = {}
        for target in self._targets:
            addresses = await self._named(target) if target.startswith(DNS_PREFIX) else [Address(target)]
            for address in addresses:
                found.setdefault(address.target, address)
        return list(found.values())

    async def _named(self, target: str) -> list[Address]:
        host, _, port = target.removeprefix(DNS_PREFIX).rpartition(":")
        try:
            hosts = await self._resolve(host.strip("[]"), int(port))
        except OSError as error:
            log.warning("replicas.unresolved", target=target, error=str(error))
        else:
            self._last[target] = [Address(_joined(one, port), host) for one in hosts]
        return self._last.get(target, [])


def _joined(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
