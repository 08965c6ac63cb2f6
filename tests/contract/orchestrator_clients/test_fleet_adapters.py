"""Adapters and models over several replicas, over real gRPC: who holds what, and who gets work of it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.common.errors import (
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.ports import AdapterRef
from tests.fakes.fleets import ADAPTER, Generators, collect, generators, items, slow

OTHER = AdapterRef("r-1-i2-00000000", "2" * 64, "file:///adapters/two")
WINDOW = 8


@pytest.fixture
async def three() -> AsyncIterator[Generators]:
    async with generators(3) as found:
        yield found


async def test_load_adapter_is_proven_on_every_replica(three: Generators) -> None:
    client = three.client()
    assert not (await client.load_adapter(ADAPTER)).already_loaded
    assert (await client.load_adapter(ADAPTER)).already_loaded
    assert all(server.generator.adapters == {ADAPTER.name: ADAPTER.sha256} for server in three.servers)
    assert await client.list_adapters() == [(ADAPTER.name, ADAPTER.sha256)]
    await client.unload_adapter(ADAPTER.name)
    await client.unload_adapter(ADAPTER.name)
    assert await client.list_adapters() == []


async def test_load_adapter_replica_refuses_it_gets_none_of_its_work(three: Generators) -> None:
    three[1].refuse_loads[""] = PreconditionError("the canaries disagree")
    client = three.client()
    await client.load_adapter(ADAPTER)
    found = await collect(client, 100, ADAPTER.name)
    assert {one.adapter_sha256 for one in found} == {ADAPTER.sha256}
    assert not three[1].asked


async def test_load_adapter_everybody_refuses_raises_the_refusal(three: Generators) -> None:
    for server in three.servers:
        server.generator.refuse_loads[""] = PreconditionError("the canaries disagree")
    with pytest.raises(PreconditionError, match="canaries disagree"):
        await three.client().load_adapter(ADAPTER)


async def test_load_adapter_one_has_no_slot_raises_overloaded_at_once(three: Generators) -> None:
    three[2].slots = 1
    client = three.client()
    await client.load_adapter(ADAPTER)
    with pytest.raises(OverloadedError):
        await client.load_adapter(OTHER)
    await client.unload_adapter(ADAPTER.name)
    assert not (await client.load_adapter(OTHER)).already_loaded


async def test_replica_dies_during_the_swap_others_go_on_and_it_is_filled_when_back(
    three: Generators,
) -> None:
    slow(three, 0.01)
    three[0].load_s = 0.3
    client = three.client()
    loading = asyncio.create_task(client.load_adapter(ADAPTER))
    await asyncio.sleep(0.1)
    await three.kill(0)
    await loading
    three[0].load_s = 0.0
    seen = 0
    async for completion in client.generate(items(300), ADAPTER.name):
        assert completion.adapter_sha256 == ADAPTER.sha256
        seen += 1
        if seen == 30:
            await three.revive(0)
    assert seen == 300
    assert three[0].loads == [ADAPTER.name]
    assert three[0].asked.total() > 10
    assert set(three.asked().values()) == {1}


async def test_replica_restarts_empty_in_the_middle_no_work_until_it_is_proven_again(
    three: Generators,
) -> None:
    slow(three, 0.01)
    client, seen = three.client(), 0
    await client.load_adapter(ADAPTER)
    async for completion in client.generate(items(300), ADAPTER.name):
        assert completion.adapter_sha256 == ADAPTER.sha256
        seen += 1
        if seen == 30:
            # So fast that no look sees it gone.
            await three.kill(2)
            await three.revive(2)
    assert seen == 300
    assert three[2].loads.count(ADAPTER.name) == 2
    assert sum(count - 1 for count in three.asked().values()) <= WINDOW


async def test_replica_loses_its_adapters_silently_is_filled_again(three: Generators) -> None:
    client = three.client()
    await client.load_adapter(ADAPTER)
    three[1].adapters.clear()
    found = await collect(client, 200, ADAPTER.name)
    assert {one.adapter_sha256 for one in found} == {ADAPTER.sha256}
    assert max(three.asked().values()) == 1


async def test_replica_without_a_free_slot_is_asked_seldom_and_told_of(three: Generators) -> None:
    slow(three)
    client = three.client(wait_s=1.0)
    await client.load_adapter(ADAPTER)
    await three.kill(0)
    await three.revive(0)
    three[0].slots = 0
    await three.until(3)
    await collect(client, 200, ADAPTER.name)
    # The first load asks too: a replica that has just come up is listed as one that holds nothing.
    assert 1 <= three[0].load_calls <= 3
    for number in (1, 2):
        await three.kill(number)
        await three.revive(number)
        three[number].slots = 0
    await three.until(3)
    with pytest.raises(NotReadyError, match=r"can be loaded nowhere now.*slot"):
        await collect(client, 3, ADAPTER.name)


async def test_replica_gets_a_free_slot_is_filled_later(three: Generators) -> None:
    slow(three, 0.02)
    client = three.client()
    await client.load_adapter(ADAPTER)
    await three.kill(0)
    await three.revive(0)
    three[0].slots = 0
    await three.until(3)
    seen = 0
    async for _ in client.generate(items(200), ADAPTER.name):
        seen += 1
        if seen == 5:
            three[0].slots = 8
    assert three[0].adapters == {ADAPTER.name: ADAPTER.sha256}
    assert three[0].asked


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


async def _unloaded_while_the_first_is_filled(three: Generators) -> FleetGenerator:
    client = three.client()
    await client.load_adapter(ADAPTER)
    three[0].adapters.clear()
    three[0].load_s = 0.3
    await collect(client, 60, ADAPTER.name)
    await _until(lambda: bool(three[0].loading))
    await client.unload_adapter(ADAPTER.name)
    return client


async def test_unload_adapter_that_a_replica_is_being_filled_with_leaves_it_nothing(
    three: Generators,
) -> None:
    client = await _unloaded_while_the_first_is_filled(three)
    assert three[0].loading
    await _until(lambda: three[0].loads.count(ADAPTER.name) == 2 and not three[0].adapters)
    assert await client.list_adapters() == []


async def test_unload_and_load_while_a_replica_is_being_filled_it_holds_the_adapter(
    three: Generators,
) -> None:
    client = await _unloaded_while_the_first_is_filled(three)
    await client.load_adapter(ADAPTER)
    assert all(server.generator.adapters == {ADAPTER.name: ADAPTER.sha256} for server in three.servers)


async def test_list_adapters_call_is_left_while_the_only_replica_is_filled_tells_it() -> None:
    async with generators(1) as one:
        client = one.client()
        await client.load_adapter(ADAPTER)
        one[0].adapters.clear()
        one[0].load_s = 0.3
        asking = asyncio.create_task(collect(client, 3, ADAPTER.name))
        await _until(lambda: bool(one[0].loading))
        asking.cancel()
        assert await client.list_adapters() == [(ADAPTER.name, ADAPTER.sha256)]
        await client.unload_adapter(ADAPTER.name)
        assert await client.list_adapters() == []
        await _until(lambda: one[0].loads.count(ADAPTER.name) == 2 and not one[0].adapters)


async def test_new_process_asks_for_an_adapter_that_one_replica_lacks_is_told_to_load_it(
    three: Generators,
) -> None:
    await three.client().load_adapter(ADAPTER)
    await collect(three.client(), 20, ADAPTER.name)
    three[1].adapters.clear()
    later = three.client()
    await later.list_adapters()
    with pytest.raises(NotFoundError, match="load it"):
        await collect(later, 20, ADAPTER.name)
    await later.load_adapter(ADAPTER)
    await collect(later, 20, ADAPTER.name)


async def test_describe_replicas_with_different_models_precondition(three: Generators) -> None:
    three[1].fingerprint = "e" * 64
    await three.kill(1)
    await three.revive(1)
    await three.until(3)
    with pytest.raises(PreconditionError, match="different base models"):
        await three.client().describe()


async def test_replica_comes_back_with_another_model_gets_no_work_of_the_run(three: Generators) -> None:
    client = three.client()
    fingerprint = (await client.describe()).fingerprint
    await three.kill(1)
    three[1].fingerprint = "e" * 64
    await three.revive(1)
    await collect(client, 100)
    assert not three[1].asked
    assert (await client.describe()).fingerprint == fingerprint


async def test_new_process_of_a_run_keeps_to_the_model_that_it_began_with(three: Generators) -> None:
    fingerprint = (await three.client().describe()).fingerprint
    await three.kill(1)
    three[1].fingerprint = "e" * 64
    await three.revive(1)
    await three.until(3)
    client = three.client(fingerprint=fingerprint)
    assert (await client.describe()).fingerprint == fingerprint
    await collect(client, 100)
    assert not three[1].asked


async def test_every_replica_comes_back_with_another_model_describe_tells_it(three: Generators) -> None:
    client = three.client()
    before = (await client.describe()).fingerprint
    for number in range(3):
        three[number].fingerprint = "e" * 64
        await three.kill(number)
        await three.revive(number)
    await three.until(3)
    await client.list_adapters()
    assert (await client.describe()).fingerprint == "e" * 64 != before
