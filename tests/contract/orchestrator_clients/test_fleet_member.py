"""One replica, looked at over real gRPC: what a missed look, and several of them, say of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Address
from services.orchestrator.clients.fleet.member import Member, State
from tests.fakes.fake_services import FakeServices, fake_services


@pytest.fixture
async def server() -> AsyncIterator[FakeServices]:
    async with fake_services() as found:
        yield found


@pytest.fixture
async def member(server: FakeServices) -> AsyncIterator[Member]:
    found = Member(Address(server.target), open_channel(server.target), look_s=0.2)
    await found.look()
    assert found.state is State.SERVING
    yield found
    await found.close()


async def test_look_many_at_once_miss_one_stall_it_counts_once(server: FakeServices, member: Member) -> None:
    server.generator.describe_s = 60.0
    for _ in range(2):
        changed = await asyncio.gather(*(member.look() for _ in range(8)))
        assert not any(changed)
        assert (member.state, member.incarnation) == (State.SERVING, 0)


async def test_look_three_missed_one_after_another_away(server: FakeServices, member: Member) -> None:
    server.generator.describe_s = 60.0
    assert [await member.look() for _ in range(3)] == [False, False, True]
    assert (member.state, member.incarnation) == (State.AWAY, 1)


async def test_look_answered_between_missed_ones_they_are_not_in_a_row(
    server: FakeServices, member: Member
) -> None:
    for _ in range(2):
        server.generator.describe_s = 60.0
        await asyncio.gather(member.look(), member.look())
        await member.look()
        server.generator.describe_s = 0.0
        await member.look()
    assert (member.state, member.incarnation) == (State.SERVING, 0)


async def test_look_refused_connection_away_at_once(server: FakeServices, member: Member) -> None:
    await server.stop()
    looks = await asyncio.gather(member.look(), member.look())
    assert any(looks)
    assert (member.state, member.incarnation) == (State.AWAY, 1)


async def test_look_whose_caller_leaves_stops_no_other(server: FakeServices, member: Member) -> None:
    server.generator.describe_s = 0.1
    leaving, staying = asyncio.create_task(member.look()), asyncio.create_task(member.look())
    await asyncio.sleep(0.02)
    leaving.cancel()
    assert await staying is False
    assert member.state is State.SERVING
