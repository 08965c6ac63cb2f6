"""A monitor on a route, over real gRPC: what it says when what serves changes, and when it does not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.assets import AssetKind, AssetLibrary
from services.orchestrator.monitor.records import (
    AlarmKind,
    AlarmState,
    Kind,
    MeasurementState,
    MonitorState,
)
from services.orchestrator.ruler import freeze, pack
from services.orchestrator.study import Study, resolve
from tests.evidence import make_evidence
from tests.fakes.monitors import ROUTE, Watch, monitor_text, watch
from tests.fakes.registry import add
from tests.fakes.studies import study_json


def _events(world: Watch) -> list[tuple[str, dict[str, Any]]]:
    return [
        (event.type, dict(event.data))
        for event in world.store.platform.outbox.after(0)
        if event.type.startswith("monitor.")
    ]


async def test_period_without_change_is_normal(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        baseline = await world.monitors.measurement(monitor.monitor_id, 1)
        assert (baseline.kind, baseline.state) == (Kind.BASELINE, MeasurementState.SUCCEEDED), (
            baseline.message
        )
        found = await world.period(monitor)
        assert found.kind is Kind.SCHEDULED
        assert found.outcome == "normal", found.message
        after = await world.monitors.get(monitor.monitor_id)
        assert after.state is MonitorState.NORMAL
        assert after.last_success_time is not None
        assert not await world.alarms(monitor)


async def test_adapter_changed_behind_its_back_raises_drift_within_one_period(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        world.serve("other-i3-0a0a0a0a")
        found = await world.period(monitor)
        assert found.outcome == "identity", found.message
        assert "other-i3-0a0a0a0a" in found.message
        assert found.result["p_value"] <= 0.01
        alarm = (await world.alarms(monitor))[0]
        assert (alarm.kind, alarm.state) == (AlarmKind.IDENTITY, AlarmState.RAISED)
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.DRIFT
        kinds = [(kind, data["kind"]) for kind, data in _events(world)]
        assert kinds == [("monitor.drift", "identity")]


async def test_change_under_the_same_name_is_found_by_its_texts(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        add(world.store.registry, "run-i1-0a0a0a0a")
        world.store.registry.routes.set(
            ROUTE, adapter="run-i1-0a0a0a0a", expected_version=0, reason="a test", action="adapter.promote"
        )
        world.serve("run-i1-0a0a0a0a")
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        # The same sha256, as somebody tells it who exchanged the weights.
        honest = world.generator.adapters["run-i1-0a0a0a0a"]
        world.generator.adapters["liar-i4-0a0a0a0a"] = honest
        world.serve("liar-i4-0a0a0a0a")
        found = await world.period(monitor)
        assert found.outcome == "drift", found.message
        assert found.result["confirm_p_value"] <= 0.01
        assert (await world.alarms(monitor))[0].kind is AlarmKind.DRIFT


async def test_promotion_that_the_registry_knows_takes_a_new_baseline_and_clears(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        add(world.store.registry, "run-i3-0a0a0a0a")
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        world.serve("run-i3-0a0a0a0a")
        await world.period(monitor)
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.DRIFT
        world.store.registry.routes.set(
            ROUTE, adapter="run-i3-0a0a0a0a", expected_version=0, reason="a test", action="adapter.promote"
        )
        await world.step()
        after = await world.monitors.get(monitor.monitor_id)
        assert (after.state, after.baseline_number, after.baseline_version) == (MonitorState.NORMAL, 3, 1)
        assert after.prompts_number == 1, "the prompts stay those of the first baseline"
        assert [alarm.state for alarm in await world.alarms(monitor)] == [AlarmState.CLEARED]
        assert [kind for kind, _ in _events(world)] == ["monitor.drift", "monitor.recovered"]
        assert (await world.period(monitor)).outcome == "normal"


async def test_drift_that_is_over_clears_after_as_many_normal_periods_as_asked(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        world.serve("other-i3-0a0a0a0a")
        await world.period(monitor)
        world.serve("")
        await world.period(monitor)
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.DRIFT
        await world.period(monitor)
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.NORMAL


async def test_generator_that_is_away_fails_and_alarms_after_so_many_in_a_row(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        alarms = {"failures": 2, "permutations": 499}
        monitor = await world.monitors.create(monitor_text(alarms=alarms))
        await world.step()
        world.generator.serving = False
        first = await world.period(monitor)
        assert (first.state, bool(first.message)) == (MeasurementState.FAILED, True)
        assert not await world.alarms(monitor)
        await world.period(monitor)
        assert [alarm.kind for alarm in await world.alarms(monitor)] == [AlarmKind.FAILED]
        assert (await world.monitors.get(monitor.monitor_id)).state is MonitorState.FAILING
        world.generator.serving = True
        assert (await world.period(monitor)).outcome == "normal"
        assert [alarm.state for alarm in await world.alarms(monitor)] == [AlarmState.CLEARED]
        assert [kind for kind, _ in _events(world)] == ["monitor.failed", "monitor.recovered"]


async def test_measurement_that_was_cut_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    async with watch(tmp_path, timeout_s=30) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        asked = sum(world.generator.asked.values())
        await world.monitors.measure(monitor.monitor_id)
        world.generator.latency_s = 0.2
        world.generator.concurrency = 4
        await world.monitoring.step()
        while sum(world.generator.asked.values()) < asked + 6:
            await asyncio.sleep(0.02)
        task = world.monitoring._in_flight[monitor.monitor_id]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # A write that was on its way in its thread ends after the task has.
        await asyncio.sleep(1)
        cut = await world.monitors.measurement(monitor.monitor_id, 2)
        assert cut.state is MeasurementState.RUNNING
        stored = len(world.store.platform.measuring.draws(monitor.monitor_id, 2))
        assert stored > 0
        world.generator.latency_s = 0
        before = sum(world.generator.asked.values())
        await world.step()
        done = await world.monitors.measurement(monitor.monitor_id, 2)
        assert done.outcome == "normal", done.message
        total = len(world.store.platform.measuring.draws(monitor.monitor_id, 2))
        assert sum(world.generator.asked.values()) - before == total - stored


async def test_missed_moments_are_one_measurement(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(schedule="* * * * *"))
        await world.step()
        late = monitor.next_time.replace(year=monitor.next_time.year + 1)
        await world.step(late)
        await world.step(late)
        found, _ = await world.monitors.measurements(monitor.monitor_id)
        assert [one.number for one in found] == [2, 1]
        assert (await world.monitors.get(monitor.monitor_id)).next_time > late


async def test_drift_opens_a_run_that_is_never_promoted_by_itself(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        study = {**study_json(), "promotion": {"automatic": True}}
        monitor = await world.monitors.create(monitor_text(on_drift={"study": study}))
        await world.step()
        world.serve("other-i3-0a0a0a0a")
        await world.period(monitor)
        await world.step()
        await world.step()
        alarm = (await world.alarms(monitor))[0]
        run = world.store.get_run(alarm.run_id)
        assert run.created_by == f"monitor:{monitor.monitor_id}"
        assert len(world.opened) == 1
        promotion = json.loads(world.opened[0][0])["promotion"]
        assert (promotion["automatic"], promotion["approval"]) == (False, True)


async def test_events_hold_no_text_of_the_model(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text())
        await world.step()
        world.serve("other-i3-0a0a0a0a")
        await world.period(monitor)
        texts = {draw.principle for draw in world.store.platform.measuring.draws(monitor.monitor_id, 2)}
        told = json.dumps(_events(world))
        assert texts
        assert not [text for text in texts if text in told]


async def test_ruler_fixes_topics_prompts_and_counterparts(tmp_path: Path) -> None:
    evidence = make_evidence(2, 8, 2, measure_only=True, second=False)
    ruler = freeze(evidence, "bench", "r-1", "i" * 64, "model", "a" * 64)
    async with watch(tmp_path) as world:
        library = AssetLibrary(world.store.assets, world.artifacts)
        library._put(AssetKind.RULER, "bench", pack(ruler), "asset.add", {})
        resolved = resolve(Study.model_validate(dict(evidence.study))).as_json()
        sets = {name: resolved[name] for name in ("topics", "reference_set", "prompt_set")}
        monitor = await world.monitors.create(monitor_text(ruler=ruler.sha256, **sets))
        await world.step()
        baseline = await world.monitors.measurement(monitor.monitor_id, 1)
        assert baseline.outcome == "baseline", baseline.message
        draws = world.store.platform.measuring.draws(monitor.monitor_id, 1)
        assert {draw.phase for draw in draws} == {"sample"}, "no statement and no counterpart is drawn"
        assert set(baseline.result["by_topic"]) == {topic.id for topic in ruler.facts.topics}
        with pytest.raises(InvalidInputError, match="is of prompt set"):
            await world.monitors.create(monitor_text(ruler=ruler.sha256))
