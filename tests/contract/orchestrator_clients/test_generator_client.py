"""The orchestrator's generator client against a servicer of the contract, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.errors import NotFoundError, NotReadyError, OverloadedError
from services.common.rpc.client import open_channel
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, GenerationItem, Sampling, ScoreItem
from tests.fakes.fake_services import FakeServices, fake_services


@pytest.fixture
async def fakes() -> AsyncIterator[FakeServices]:
    async with fake_services() as services:
        yield services


@pytest.fixture
async def client(fakes: FakeServices) -> AsyncIterator[GrpcGenerator]:
    async with open_channel(fakes.target) as channel:
        yield GrpcGenerator(channel, Patience(wait_s=3.0, call_s=3.0))


def items(count: int, characters: int = 20) -> list[GenerationItem]:
    return [
        GenerationItem(
            f"t/{number}/0",
            Prompt((Message("user", "P1 ".ljust(characters, "x")),)),
            Sampling(0.7, 0.95, 96, seed=2**63 - 1 - number),
        )
        for number in range(count)
    ]


async def test_generate_ten_thousand_prompts_each_comes_back_once(client: GrpcGenerator) -> None:
    keys = [completion.key async for completion in client.generate(items(10_000))]
    assert len(keys) == len(set(keys)) == 10_000


async def test_generate_prompts_beyond_one_message_arrive(client: GrpcGenerator) -> None:
    found = [completion async for completion in client.generate(items(40, characters=1_000_000))]
    assert len(found) == 40


async def test_generate_stream_breaks_only_missing_asked_again(
    client: GrpcGenerator, fakes: FakeServices
) -> None:
    fakes.generator.break_after = 7
    keys = [completion.key async for completion in client.generate(items(20))]
    assert len(keys) == 20
    assert max(fakes.generator.asked.values()) == 1


async def test_generate_server_restarts_on_its_port_goes_on(
    client: GrpcGenerator, fakes: FakeServices
) -> None:
    fakes.generator.latency_s, fakes.generator.concurrency = 0.02, 1
    port = int(fakes.target.rsplit(":", 1)[1])
    keys: list[str] = []
    async for completion in client.generate(items(20)):
        keys.append(completion.key)
        if len(keys) == 5:
            await fakes.stop()
            await fakes.start(port)
    assert sorted(keys) == sorted(item.key for item in items(20))


async def test_generate_service_stays_away_raises_not_ready_with_remedy(fakes: FakeServices) -> None:
    fakes.generator.serving = False
    told: list[tuple[str, str]] = []
    async with open_channel(fakes.target) as channel:
        client = GrpcGenerator(channel, Patience(wait_s=0.5), lambda *what: told.append(what))
        with pytest.raises(NotReadyError, match="WAIT_FOR_SERVICES_S"):
            [completion async for completion in client.generate(items(1))]
    assert told[0][0] == "generator"


async def test_generate_unknown_adapter_raises_not_found(client: GrpcGenerator) -> None:
    with pytest.raises(NotFoundError):
        [completion async for completion in client.generate(items(1), "gone")]


async def test_generate_abandoned_call_is_cancelled(client: GrpcGenerator, fakes: FakeServices) -> None:
    fakes.generator.latency_s, fakes.generator.concurrency = 0.05, 1
    stream = client.generate(items(50))
    await anext(stream)
    await stream.aclose()
    await asyncio.sleep(0.2)
    asked = fakes.generator.asked.total()
    await asyncio.sleep(0.2)
    assert fakes.generator.asked.total() == asked < 10


def score_items(count: int, characters: int = 20) -> list[ScoreItem]:
    return [
        ScoreItem(
            f"s/{number}", Prompt((Message("user", "question"),)), f"answer {number} ".ljust(characters)
        )
        for number in range(count)
    ]


async def test_score_thousands_of_continuations_each_comes_back_once(client: GrpcGenerator) -> None:
    found = [score async for score in client.score(score_items(3_000))]
    assert len({score.key for score in found}) == len(found) == 3_000
    assert all(score.logprob < 0 and score.tokens == 2 and not score.error_code for score in found)


async def test_score_continuations_beyond_one_message_arrive(client: GrpcGenerator) -> None:
    assert len([score async for score in client.score(score_items(20, characters=1_000_000))]) == 20


async def test_score_stream_breaks_only_missing_asked_again(
    client: GrpcGenerator, fakes: FakeServices
) -> None:
    fakes.generator.break_after = 7
    assert len([score async for score in client.score(score_items(20))]) == 20
    assert max(fakes.generator.asked.values()) == 1


async def test_score_unknown_adapter_raises_not_found(client: GrpcGenerator) -> None:
    with pytest.raises(NotFoundError):
        [score async for score in client.score(score_items(1), "gone")]


async def test_load_adapter_no_slot_raises_overloaded_at_once(
    client: GrpcGenerator, fakes: FakeServices
) -> None:
    fakes.generator.slots = 1
    await client.load_adapter(AdapterRef("a", "1" * 64, "file:///a"))
    with pytest.raises(OverloadedError):
        await client.load_adapter(AdapterRef("b", "2" * 64, "file:///b"))


async def test_load_and_unload_adapter_twice_is_no_error(client: GrpcGenerator) -> None:
    adapter = AdapterRef("a", "1" * 64, "file:///a")
    assert not (await client.load_adapter(adapter)).already_loaded
    assert (await client.load_adapter(adapter)).already_loaded
    assert await client.list_adapters() == [("a", "1" * 64)]
    await client.unload_adapter("a")
    await client.unload_adapter("a")
    assert await client.list_adapters() == []
