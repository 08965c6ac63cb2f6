"""How fast an endpoint is asked."""

import asyncio

from services.orchestrator.clients.openai_pace import Pace


async def test_refused_leaves_a_quarter_and_answers_let_more_through_again() -> None:
    pace = Pace(8)
    async with pace.turn() as began:
        pace.refused(began, None)
    assert pace.allowed == 2
    # Those that were under way with it say the same thing.
    pace.refused(began, None)
    assert pace.allowed == 2
    for _ in range(500):
        pace.answered()
    assert pace.allowed == 8


async def test_refused_again_and_again_leaves_one() -> None:
    pace = Pace(8)
    for _ in range(6):
        await asyncio.sleep(0.001)
        async with pace.turn() as began:
            pace.refused(began, None)
    assert pace.allowed == 1


async def test_turn_never_lets_more_in_than_allowed() -> None:
    pace = Pace(3)
    inside = most = 0

    async def ask() -> None:
        nonlocal inside, most
        async with pace.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.005)
            inside -= 1

    await asyncio.gather(*(ask() for _ in range(20)))
    assert most == 3


async def test_turn_waits_for_the_moment_and_gives_its_place_back_when_cancelled() -> None:
    pace = Pace(1)
    async with pace.turn() as began:
        pace.refused(began, 30.0)
    waiting = asyncio.create_task(_enter(pace))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert pace._inside == 0


async def _enter(pace: Pace) -> None:
    async with pace.turn():
        pass
