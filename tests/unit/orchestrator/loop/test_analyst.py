"""The analysis in a process of its own, and the second encoder."""

import asyncio

import pytest

from services.common.errors import InternalError
from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.files import pack_evidence, unpack_evidence
from services.orchestrator.analysis.results import Analysis
from services.orchestrator.loop import appraise
from services.orchestrator.loop.analyst import analyst
from tests.fakes.studies import study_json


async def packed(world) -> bytes:
    await world.run(world.context(study_json([("privacy", "Privacy")], principles=10, iterations=1)))
    place = world.report().evidence
    return world.artifacts.get_bytes(place.uri, place.sha256)


async def test_analyst_gives_what_the_analysis_gives_and_the_loop_goes_on(world) -> None:
    evidence = await packed(world)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with analyst() as work:
        found = await work(evidence)
    ticking.cancel()
    assert Analysis.model_validate_json(found) == analyse(unpack_evidence(evidence))
    assert ticks > 10


async def test_analyst_damaged_evidence_is_an_error_with_the_last_words() -> None:
    async with analyst() as work:
        with pytest.raises(InternalError, match=r"exit status 1: (?s:.*)ValueError"):
            await work(b"no zip")


async def test_analyst_left_early_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    make = asyncio.create_subprocess_exec

    async def remember(*args, **kwargs):
        started.append(await make(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)

    async def work() -> None:
        async with analyst():
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    while not started:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert started[0].returncode == -9


async def test_run_with_a_second_embedder_the_primary_figure_is_measured_by_both(world_with_second) -> None:
    world, second = world_with_second
    await world.run(world.context(study_json(iterations=1, second_encoder="fake/other-encoder")))
    place = world.report().evidence
    evidence = unpack_evidence(world.artifacts.get_bytes(place.uri, place.sha256))
    assert evidence.vectors["second"].encoder == "fake/other-encoder"
    assert second.embedder.texts_seen == len(evidence.vectors["second"].texts)
    assert pack_evidence(evidence) == world.artifacts.get_bytes(place.uri)
    assert appraise.SECOND_ENCODER not in world.report().analysis.not_run


async def test_run_second_embedder_away_is_waited_for(world_with_second) -> None:
    world, second = world_with_second
    ctx = world.context(study_json(iterations=1))
    second.embedder.serving = False
    running = asyncio.create_task(world.run(ctx))
    while not world.events("service.waiting"):
        await asyncio.sleep(0.01)
    second.embedder.serving = True
    await running
    assert world.report()
    assert world.events("service.waiting")[0].data["service"] == "second embedder"


async def test_run_second_embedder_serves_the_same_encoder_is_told(world_with_second) -> None:
    world, second = world_with_second
    second.embedder.fingerprint = ""
    await world.run(world.context(study_json(iterations=1)))
    assert world.report().analysis.not_run[appraise.SECOND_ENCODER] == appraise.SAME_ENCODER


@pytest.mark.parametrize("configured", [True, False])
async def test_run_study_of_another_second_encoder_fails_at_once(world_with_second, configured: bool) -> None:
    world, _ = world_with_second
    if not configured:
        world.second = None
    await world.run(world.context(study_json(second_encoder="a/third")))
    run = world.store.get_run("r-1")
    assert (run.error_code, run.stage) == ("PRECONDITION", "prepare")
    assert "a/third" in run.error_message


async def test_run_without_second_embedder_is_told(world) -> None:
    await world.run(world.context(study_json(iterations=1)))
    assert "TARGET" in world.report().analysis.not_run[appraise.SECOND_ENCODER]
