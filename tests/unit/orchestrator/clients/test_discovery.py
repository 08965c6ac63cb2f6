"""Addresses: what may be written, and names that are looked up again."""

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.clients.discovery import Address, Discovery, is_many, parse_targets, resolve_host


def test_parse_targets_list_is_split_and_each_kept_once() -> None:
    assert parse_targets("a:1, b:2,a:1") == ("a:1", "b:2")
    assert parse_targets("dns:///embedder.valign.svc:50052") == ("dns:///embedder.valign.svc:50052",)
    assert parse_targets("[::1]:50052") == ("[::1]:50052",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "a:1,",
        ":1",
        "a:x",
        "a:0",
        "a:70000",
        "dns://host:1",
        "http://a:1",
        "dns:///a..b:1",
        f"{'a' * 64}.b:1",
    ],
)
def test_parse_targets_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match="write host:port"):
        parse_targets(text)


async def test_addresses_of_a_name_keep_its_name_for_the_certificate() -> None:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        assert (host, port) == ("embedder.valign.svc", 50052)
        return ("10.0.0.1", "fd00::2")

    found = await Discovery("fixed:1,dns:///embedder.valign.svc:50052", resolve).addresses()
    assert found == (
        Address("fixed:1"),
        Address("10.0.0.1:50052", "embedder.valign.svc"),
        Address("[fd00::2]:50052", "embedder.valign.svc"),
    )


async def test_addresses_resolver_fails_keeps_what_was_known() -> None:
    answers: list[tuple[str, ...] | OSError] = [("10.0.0.1",), OSError("no resolver"), ("10.0.0.2",)]

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    discovery = Discovery("dns:///name:1", resolve, every_s=0.0)
    found = [[one.target for one in await discovery.addresses()] for _ in range(3)]
    assert found == [["10.0.0.1:1"], ["10.0.0.1:1"], ["10.0.0.2:1"]]


async def test_addresses_within_the_interval_are_not_looked_up_again() -> None:
    asked: list[str] = []

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("10.0.0.1",)

    discovery = Discovery("dns:///name:1", resolve, every_s=60.0)
    await discovery.addresses()
    await discovery.addresses()
    assert asked == ["name"]


async def test_resolve_host_knows_this_machine() -> None:
    assert "127.0.0.1" in await resolve_host("localhost", 50052)


def test_one_address_is_not_many_and_a_name_may_be() -> None:
    assert not is_many(parse_targets("a:1, a:1"))
    assert is_many(("a:1", "b:2"))
    assert is_many(("dns:///name:1",))
    assert Discovery("a:1").fixed
    assert not Discovery("a:1,dns:///name:1").fixed


async def test_addresses_name_that_the_resolver_cannot_write_is_no_address_and_no_crash() -> None:
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        raise UnicodeError("label empty or too long")

    assert await Discovery("dns:///name:1", resolve).addresses() == ()
