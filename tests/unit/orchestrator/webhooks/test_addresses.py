"""Addresses that webhooks may reach, and those that they may not however they are written."""

import pytest

from services.orchestrator.webhooks.addresses import RefusedAddressError, checked, resolve

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"]
PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "::1",
    "fd12::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:0a00:0001::",
    "240.0.0.1",
]
NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104 - refused, not listened on
    "::",
    "224.0.0.1",
    "ff02::1",
]


def test_public_addresses_are_reached() -> None:
    assert checked("host", PUBLIC, trusted=False) == PUBLIC


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_reached_by_trust_alone(address: str) -> None:
    assert checked("host", [address], trusted=True) == [address]
    with pytest.raises(RefusedAddressError, match="host stands for"):
        checked("host", [address], trusted=False)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("trusted", [False, True])
def test_link_and_metadata_addresses_are_never_reached(address: str, trusted: bool) -> None:
    with pytest.raises(RefusedAddressError, match="host stands for"):
        checked("host", [address], trusted=trusted)


def test_one_bad_address_among_good_ones_is_enough() -> None:
    with pytest.raises(RefusedAddressError, match="this machine itself"):
        checked("host", [*PUBLIC, "127.0.0.1"], trusted=False)


async def test_resolve_asks_the_system() -> None:
    assert "127.0.0.1" in await resolve("localhost", 80)
    # As the resolver spells it: no other writing of an address gets past the check.
    assert await resolve("127.1", 80) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"."):
        await resolve("no-such-name.invalid", 80)
    with pytest.raises(OSError, match="is no host's name"):
        await resolve("a" * 64 + ".example.org", 80)
