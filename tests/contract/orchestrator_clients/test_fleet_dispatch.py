"""Work over several replicas, over real gRPC: what each fault does to it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.errors import (
    NotFoundError,
    NotReadyError,
    PreconditionError,
)
from services.orchestrator.clients.fleet.member import State
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, ScoreItem
from services.orchestrator.registry.records import Route
from tests.fakes.fleets import ADAPTER, Generators, collect, generators, items, slow

OTHER = AdapterRef("r-1-i2-00000000", "2" * 64, "file:///adapters/two")
WINDOW = 8


@pytest.fixture
async def three() -> AsyncIterator[Generators]:
    async with generators(3) as found:
        yield found


async def test_generate_many_items_each_once_and_shared_by_all(three: Generators) -> None:
    found = await collect(three.client(), 600)
    assert len(found) == 600
    assert set(three.asked().values()) == {1}
    assert all(server.generator.asked.total() > 100 for server in three.servers)


async def test_generate_few_items_go_to_the_least_loaded(three: Generators) -> None:
    slow(three, 0.2)
    client = three.client()
    busy = [asyncio.create_task(collect(client, 1)), asyncio.create_task(collect(three.client(), 1))]
    await asyncio.sleep(0.1)
    await collect(client, 1)
    await asyncio.gather(*busy)
    assert [server.generator.asked.total() for server in three.servers] == [1, 1, 1]


async def test_generate_slow_replica_does_less(three: Generators) -> None:
    slow(three, 0.002)
    three[0].latency_s = 0.05
    await collect(three.client(), 300)
    assert three[0].asked.total() < 60


async def test_generate_prompts_beyond_one_message_arrive(three: Generators) -> None:
    found = [one async for one in three.client().generate(items(30, characters=1_000_000))]
    assert len(found) == 30


async def test_generate_replica_dies_only_what_it_had_is_asked_again(three: Generators) -> None:
    slow(three)
    client, seen = three.client(), 0
    async for _ in client.generate(items(300)):
        seen += 1
        if seen == 60:
            await three.kill(1)
    assert seen == 300
    again = {key: count for key, count in three.asked().items() if count > 1}
    assert len(again) <= WINDOW
    assert set(again.values()) <= {2}


async def test_generate_replica_comes_back_gets_work_again(three: Generators) -> None:
    slow(three, 0.01)
    client, seen = three.client(), 0
    async for _ in client.generate(items(400)):
        seen += 1
        if seen == 40:
            await three.kill(1)
            before = three[1].asked.total()
        if seen == 80:
            await three.revive(1)
    assert three[1].asked.total() > before + 20


async def test_generate_engine_dies_under_a_stream_nothing_lost(three: Generators) -> None:
    three[2].break_after = 5
    await collect(three.client(), 200)
    assert max(three.asked().values()) <= 2


async def test_generate_item_refused_by_a_full_engine_goes_elsewhere(three: Generators) -> None:
    for server in three.servers:
        server.generator.refuse_items = {"t/5/0", "t/6/0"}
    found = await collect(three.client(), 40)
    assert not [one for one in found if one.error_code]


async def test_generate_stream_that_holds_nothing_fails_for_good_call_goes_on(three: Generators) -> None:
    slow(three, 0.02)
    # An item that it refuses ends the stream to it early: it fails while the others have work still.
    three[0].refuse_items = {item.key for item in items(60)}
    three[0].last_word = PreconditionError("the engine does not like how this ends")
    await collect(three.client(), 60)
    assert three[0].asked
    assert max(three.asked().values()) <= 2


async def test_generate_refused_items_never_give_a_replica_more_than_its_window() -> None:
    async with generators(1) as one:
        slow(one, 0.01)
        asked = items(60)
        one[0].refuse_items = {item.key for item in asked[4::9]}
        [member] = one.fleet.members if one.fleet is not None else []
        most = 0
        async for _ in one.client(window=WINDOW).generate(asked):
            most = max(most, member.in_flight)
        assert 0 < most <= WINDOW
        assert one.asked().keys() == {f"base|P3|{item.key}" for item in asked}


async def test_generate_replica_drains_gets_no_more_and_finishes_what_it_has(three: Generators) -> None:
    slow(three, 0.01)
    client, seen, at_drain = three.client(), 0, 0
    async for _ in client.generate(items(300)):
        seen += 1
        if seen == 60:
            three[0].serving = False
            assert three.fleet is not None
            await three.until(2)
            at_drain = three[0].asked.total()
    assert set(three.asked().values()) == {1}
    assert three[0].asked.total() <= at_drain + WINDOW


async def test_generate_replica_hangs_its_work_is_taken_back_after_missed_looks(three: Generators) -> None:
    slow(three)
    client, seen = three.client(), 0
    async for _ in client.generate(items(120)):
        seen += 1
        if seen == 30:
            three[0].latency_s = three[0].describe_s = 60.0
    assert seen == 120
    assert sum(count - 1 for count in three.asked().values()) <= WINDOW
    assert three.fleet is not None
    assert len(three.fleet.serving) == 2


async def test_generate_one_stall_that_many_looks_meet_cuts_nobody() -> None:
    async with generators(2) as two:
        slow(two, 0.02)
        assert two.fleet is not None
        stalled, seen = two.fleet.members[0], 0
        async for _ in two.client().generate(items(200)):
            seen += 1
            if seen == 20:
                # Its streams go on; what it says of itself comes after the deadline of a look.
                two[0].describe_s = 60.0
                await asyncio.gather(*(stalled.look() for _ in range(5)))
                two[0].describe_s = 0.0
        assert seen == 200
        assert set(two.asked().values()) == {1}
        assert stalled.state is State.SERVING
        assert stalled.incarnation == 0


async def test_generate_all_away_waits_then_not_ready_with_remedy(three: Generators) -> None:
    for number in range(3):
        await three.kill(number)
    await three.until(0)
    with pytest.raises(NotReadyError, match="WAIT_FOR_SERVICES_S"):
        await collect(three.client(wait_s=0.4), 3)
    assert three.told[0][0] == "generator"


async def test_generate_all_die_and_one_returns_goes_on(three: Generators) -> None:
    slow(three)
    client, seen = three.client(), 0

    async def back() -> None:
        await asyncio.sleep(0.3)
        await three.revive(2)

    async for _ in client.generate(items(120)):
        seen += 1
        if seen == 30:
            for number in range(3):
                await three.kill(number)
            returning = asyncio.create_task(back())
    await returning
    assert seen == 120


async def test_generate_abandoned_call_is_cancelled_everywhere(three: Generators) -> None:
    slow(three, 0.02)
    stream = three.client().generate(items(200))
    await anext(stream)
    await stream.aclose()
    asked = three.asked().total()
    await asyncio.sleep(0.2)
    assert three.asked().total() <= asked + 3
    assert three.fleet is not None
    assert [member.in_flight for member in three.fleet.members] == [0, 0, 0]


async def test_generate_adapter_that_was_never_loaded_not_found(three: Generators) -> None:
    with pytest.raises(NotFoundError, match="load it"):
        await collect(three.client(), 3, "never-loaded")


async def test_two_calls_at_once_keep_apart(three: Generators) -> None:
    slow(three, 0.001)
    client = three.client()
    await client.load_adapter(ADAPTER)
    plain, tuned = await asyncio.gather(collect(client, 150), collect(client, 150, ADAPTER.name))
    assert {one.adapter_sha256 for one in plain} == {""}
    assert {one.adapter_sha256 for one in tuned} == {ADAPTER.sha256}


async def test_score_over_replicas_each_once(three: Generators) -> None:
    prompt = Prompt((Message("user", "question"),))
    asked = [ScoreItem(f"s/{n}", prompt, f"answer {n}") for n in range(500)]
    found = [score async for score in three.client().score(asked)]
    assert len({score.key for score in found}) == len(found) == 500
    assert set(three.asked().values()) == {1}


async def test_routed_replica_without_the_route_gets_none_of_it(three: Generators) -> None:
    client = three.client()
    await client.load_adapter(ADAPTER)
    assert three.fleet is not None
    for member in three.fleet.members:
        if member.target != three.servers[2].target:
            await member.replica.set_route(Route("valign", ADAPTER.name, "", 0.0, 1))
    found = [one async for one in client.generate_routed(items(60), "valign")]
    assert {one.adapter for one in found} == {ADAPTER.name}
    assert not three[2].asked


async def test_routed_name_that_is_set_nowhere_says_so(three: Generators) -> None:
    client = three.client(wait_s=0.5)
    with pytest.raises(NotReadyError, match="route valign is not set"):
        _ = [one async for one in client.generate_routed(items(3), "valign")]
    await three.until(3)
