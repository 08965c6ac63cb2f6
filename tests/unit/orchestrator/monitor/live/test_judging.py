"""Windows of live exchanges: what moves them, how often nothing does, and what clears."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.orchestrator.monitor.document import AlarmSettings
from services.orchestrator.monitor.drift import Texts, test_drift
from services.orchestrator.monitor.live.judging import compare, told_of
from services.orchestrator.monitor.live.records import LiveOutcome, Sample, Window
from services.orchestrator.monitor.records import AlarmKind, AlarmState, Measurement, Monitor, MonitorState
from tests.fakes.fake_generator import ALIGNED_WORDS, ORIGINAL_WORDS
from tests.fakes.monitors import ROUTE, Watch, monitor_text, watch
from tests.fakes.studies import study_json

LIVE = {"rate": 0.5, "window": 20, "raise_after": 2, "keep_samples": 100}


def _samples(monitor: Monitor, words: Sequence[str], seed: int, version: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    now = datetime.now(UTC)

    def text(of: Sequence[str]) -> str:
        return " ".join(random.choice(list(of), 6))

    return [
        Sample(monitor.monitor_id, 0, version, f"r{n}", text(ORIGINAL_WORDS), text(words), "", now)
        for n in range(20)
    ]


async def _window(
    world: Watch, monitor: Monitor, words: Sequence[str], seed: int, version: int = 0
) -> Measurement:
    world.store.platform.live.put(monitor.monitor_id, _samples(monitor, words, seed, version), 100)
    found = await world.period(monitor)
    assert found.state.value == "succeeded", found.message
    return found


def _live(found: Measurement) -> dict[str, Any]:
    result: dict[str, Any] = found.result["live"]
    return result


async def test_monitor_without_the_section_looks_at_none(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        assert "live" not in (await world.monitors.measurement(monitor.monitor_id, 1)).result


async def test_answers_that_move_twice_alarm_once_and_open_no_run(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        study = {**study_json(), "name": "again"}
        monitor = await world.monitors.create(monitor_text(live=LIVE, on_drift={"study": study}))
        await world.step()
        first = _live(await world.monitors.measurement(monitor.monitor_id, 1))
        assert (first["outcome"], first["samples"], first["wanted"]) == ("collecting", 0, 20)
        assert _live(await _window(world, monitor, ORIGINAL_WORDS, 1))["outcome"] == "baseline"
        assert _live(await _window(world, monitor, ORIGINAL_WORDS, 2))["outcome"] == "normal"
        moved = _live(await _window(world, monitor, ALIGNED_WORDS, 3))
        assert (moved["outcome"], moved["moved"]) == ("moved", ["answers"])
        assert moved["answers_energy"] > 5 * moved["requests_energy"]
        assert not await world.alarms(monitor), "one window is not enough"
        found = await _window(world, monitor, ALIGNED_WORDS, 4)
        assert found.outcome == "normal", "the fixed prompts show nothing"
        alarm = (await world.alarms(monitor))[0]
        assert (alarm.kind, alarm.topics, alarm.run_wanted) == (AlarmKind.LIVE, ("answers",), False)
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.DRIFT
        for seed in (5, 6):
            await _window(world, monitor, ORIGINAL_WORDS, seed)
        assert [one.state for one in await world.alarms(monitor)] == [AlarmState.CLEARED]
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.NORMAL
        assert world.opened == []
        events = [
            (event.type, event.data["kind"])
            for event in world.store.platform.outbox.after(0)
            if event.type.startswith("monitor.")
        ]
        assert events == [("monitor.drift", "live"), ("monitor.recovered", "live")]


async def test_window_is_judged_once_and_half_a_window_not_at_all(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        await world.step()
        await _window(world, monitor, ORIGINAL_WORDS, 1)
        half = _samples(monitor, ALIGNED_WORDS, 2)[:10]
        world.store.platform.live.put(monitor.monitor_id, half, 100)
        found = _live(await world.period(monitor))
        assert (found["outcome"], found["samples"]) == ("collecting", 10)


async def test_promotion_begins_a_new_baseline_and_clears(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(live=LIVE | {"raise_after": 1}))
        await world.step()
        await _window(world, monitor, ORIGINAL_WORDS, 1)
        await _window(world, monitor, ALIGNED_WORDS, 2)
        assert [one.state for one in await world.alarms(monitor)] == [AlarmState.RAISED]
        world.store.registry.routes.set(
            ROUTE, adapter="", expected_version=0, reason="a test", action="adapter.promote"
        )
        await world.step()
        assert [one.state for one in await world.alarms(monitor)] == [AlarmState.CLEARED]
        assert _live(await _window(world, monitor, ALIGNED_WORDS, 3, version=1))["outcome"] == "baseline"
        assert _live(await _window(world, monitor, ALIGNED_WORDS, 4, version=1))["outcome"] == "normal"


async def test_another_encoder_begins_a_new_baseline(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        await world.step()
        await _window(world, monitor, ORIGINAL_WORDS, 1)
        world.embedder.fingerprint = "d" * 64
        assert _live(await _window(world, monitor, ALIGNED_WORDS, 2))["outcome"] == "baseline"


def _random(random: np.random.Generator, centre: float = 0.0) -> Window:
    """Answers that resemble their requests, as real ones do."""
    kinds = random.integers(0, 10, 100)
    rows = 3.0 * np.eye(16)[kinds] + random.standard_normal((2, 100, 16))
    rows[:, :, 0] += centre
    unit = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return Window("e", unit[0], unit[1])


def test_unchanged_exchanges_are_suspicious_no_more_often_than_stated() -> None:
    random = np.random.default_rng(7)
    alarms = AlarmSettings(significance=0.05, permutations=199)
    hits = 0
    for number in range(300):
        test = compare(_random(random), _random(random), alarms.permutations, number)
        hits += told_of(test, alarms, 100, 100, 0, 1).outcome is LiveOutcome.MOVED
    # 15 are expected; 99.9 % of binomial draws are at most 28.
    assert hits <= 28


def test_sides_that_say_the_same_count_as_one() -> None:
    random = np.random.default_rng(9)
    before, now = _random(random), _random(random, 0.6)
    same = [Window("e", one.answers, one.answers) for one in (before, now)]
    zeros, prompts = np.zeros(100), np.zeros(100, dtype=np.int64)
    alone = [{"answers": Texts(one.answers, zeros, prompts)} for one in (before, now)]
    expected = test_drift(*alone, permutations=499, seed=3).p_value
    assert 0.01 < expected < 0.9
    assert compare(*same, 499, 3).p_value == expected


def test_a_change_of_both_sides_names_both_and_a_small_one_is_small() -> None:
    random = np.random.default_rng(8)
    alarms = AlarmSettings()
    test = compare(_random(random), _random(random, 3.0), alarms.permutations, 1)
    found = told_of(test, alarms, 100, 100, 3, 9)
    assert (found.outcome, set(found.moved)) == (LiveOutcome.MOVED, {"answers", "requests"})
    assert found.p_value == pytest.approx(1 / 1000)
    assert (found.route_version, found.judged) == (3, 9)
    small = told_of(test, AlarmSettings(min_effect=1.9), 100, 100, 3, 9)
    assert (small.outcome, small.moved) == (LiveOutcome.SMALL, ())
