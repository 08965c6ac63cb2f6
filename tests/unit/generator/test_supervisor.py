"""A dead engine turns health off and comes back."""

import asyncio

import pytest

from services.common.errors import PreconditionError
from services.common.rpc.server import Health
from services.generator.supervisor import Supervisor
from tests.fakes.fake_engine import FakeEngine


class RecordingHealth(Health):
    def __init__(self) -> None:
        super().__init__(["x"])
        self.states: list[bool] = []

    async def set_serving(self, serving: bool) -> None:
        self.states.append(serving)
        await super().set_serving(serving)


def supervisor(engine: FakeEngine, deaths: list[int]) -> Supervisor:
    return Supervisor(engine, lambda: deaths.append(1), backoff_s=0.01, backoff_max_s=0.02)


async def wait_for_states(health: RecordingHealth, states: list[bool]) -> None:
    async with asyncio.timeout(5):
        while health.states != states:
            await asyncio.sleep(0.005)


async def test_supervisor_engine_dies_health_goes_off_and_comes_back() -> None:
    engine, health, deaths = FakeEngine(), RecordingHealth(), []
    watch = supervisor(engine, deaths)
    await watch.start(health)
    assert health.serving
    engine.start_failures = 2
    engine.die()
    await wait_for_states(health, [True, False, True])
    assert (engine.incarnation, deaths) == (2, [1])
    engine.die()
    await wait_for_states(health, [True, False, True, False, True])
    await watch.stop()
    with pytest.raises(Exception, match="not running"):
        _ = engine.info


async def test_supervisor_first_start_fails_error_is_raised() -> None:
    engine, health = FakeEngine(), RecordingHealth()
    engine.start_failures = 1
    watch = supervisor(engine, [])
    with pytest.raises(PreconditionError):
        await watch.start(health)
    assert not health.serving
    await watch.stop()


async def test_supervisor_engine_cannot_be_cleared_away_at_first_comes_back() -> None:
    engine, health = FakeEngine(), RecordingHealth()
    watch = supervisor(engine, [])
    await watch.start(health)
    engine.stop_failures = 1
    engine.die()
    await wait_for_states(health, [True, False, True])
    await watch.stop()


async def test_supervisor_what_stands_around_the_engine_is_built_before_it_serves_and_tried_again() -> None:
    engine, health = FakeEngine(), RecordingHealth()
    built: list[bool] = []

    async def build() -> None:
        if len(built) == 1:
            built.append(False)
            raise RuntimeError("told to fail once")
        built.append(health.serving)

    watch = Supervisor(engine, lambda: None, backoff_s=0.01, backoff_max_s=0.02, on_start=build)
    await watch.start(health)
    engine.die()
    await wait_for_states(health, [True, False, True])
    assert built == [False, False, False]
    assert engine.incarnation == 3
    await watch.stop()
