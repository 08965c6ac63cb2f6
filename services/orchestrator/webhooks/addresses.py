"""Which network addresses a webhook may reach: what a name stands for is decided when a connection is made.

A URL of a stranger could else make the orchestrator speak to what only it can reach (server-side request
forgery): its own machine, its network, a cloud's metadata service.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset(
    ipaddress.ip_address(address)
    # AWS over IPv6, Alibaba, Oracle's and Azure's wire server: not link-local, and never a receiver.
    for address in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)


class RefusedAddressError(Exception):
    """The name stands for an address that webhooks may not reach; the text says which."""


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host, by the system's resolver. OSError if it has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:
        # A label that is too long, for example: Python's codec refuses it before the resolver is asked.
        raise OSError(f"{host[:80]!r} is no host's name: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked(host: str, addresses: list[str], *, trusted: bool) -> list[str]:
    """The addresses, if webhooks may reach every one of them.

    Args:
        host: the name, for the message.
        addresses: what it stands for.
        trusted: the settings name the host: loopback and private networks are allowed.

    Raises:
        RefusedAddressError: one is link-local, multicast, of a metadata service or reserved; or private or
            loopback without ``trusted``. One is enough: who controls the name chooses which comes first.
    """
    for text in addresses:
        # An address of a link carries its interface: fe80::1%eth0.
        address = ipaddress.ip_address(text.partition("%")[0])
        for real in (*_embedded(address), address):
            if why := _why_not(real, trusted=trusted):
                raise RefusedAddressError(f"{host} stands for {address}, {why}")
    return addresses


def _why_not(address: Address, *, trusted: bool) -> str:
    if address in _METADATA:
        return "an address of a cloud's metadata service"
    if address.is_link_local:
        return "a link-local address (a cloud's metadata service is one)"
    if address.is_multicast or address.is_unspecified:
        return "which is no receiver's address"
    if trusted:
        return ""
    if address.is_loopback:
        return "this machine itself"
    if not address.is_global:
        return "an address of a private or reserved network"
    return ""


def _embedded(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    found: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.teredo is not None:
        found.extend(address.teredo)
    return found
