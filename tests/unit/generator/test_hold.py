"""A place in the engine and an adapter, held until the last who works on a request has let go."""

import asyncio
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import NotFoundError, NotReadyError
from services.generator.adapters import Adapters
from services.generator.service import Generator
from tests.fakes.adapter_folders import write_adapter
from tests.fakes.fake_engine import FakeEngine


@pytest.fixture
async def generator(tmp_path: Path) -> Generator:
    engine, store = FakeEngine(), ArtifactStore(str(tmp_path / "store"))
    await engine.start()
    adapters = Adapters(engine, store, tmp_path / "cache", max_bytes=10**6, tolerance=0.01)
    made = write_adapter(store, tmp_path / "made", "adapters/a")
    await adapters.load("a", made.uri, made.sha256)
    return Generator(engine, adapters, max_in_flight=1, max_calls=1)


async def test_unload_waits_for_the_last_holder(generator: Generator) -> None:
    hold = await generator.hold("http", lambda: "a")
    hold.retain()
    hold.release()
    unloading = asyncio.create_task(generator.unload("a"))
    await asyncio.sleep(0.02)
    assert not unloading.done()
    hold.release()
    assert await unloading == 1
    with pytest.raises(NotReadyError):
        hold.retain()


async def test_place_is_given_back_whatever_the_choice_says(generator: Generator) -> None:
    def none() -> str:
        raise NotFoundError("no such model")

    for _ in range(3):
        with pytest.raises(NotFoundError):
            await generator.hold("http", none)
        with pytest.raises(NotFoundError):
            await generator.hold("http", lambda: "b")
    (await generator.hold("http", lambda: "")).release()


async def test_choice_is_made_when_there_is_a_place_and_not_before(generator: Generator) -> None:
    first = await generator.hold("http", lambda: "a")
    name = "a"
    waiting = asyncio.create_task(generator.hold("http", lambda: name))
    await asyncio.sleep(0.01)
    name = ""
    first.release()
    second = await waiting
    assert second.lease.name == ""
    second.release()
