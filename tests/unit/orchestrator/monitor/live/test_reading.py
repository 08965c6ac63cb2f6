"""From the generator's stream to the store: redacted and bounded; what can't be redacted is not kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.common.errors import ForbiddenError, NotFoundError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.orchestrator.clients.traffic import GrpcTraffic
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.monitor import metrics
from services.orchestrator.monitor.live import reading as reading_module
from services.orchestrator.monitor.live.reading import LiveReading
from services.orchestrator.monitor.live.records import Sample
from services.orchestrator.monitor.live.redaction import Redact, redact
from services.orchestrator.monitor.records import Monitor
from tests.fakes.monitors import ROUTE, Watch, monitor_text, watch

LIVE = {"rate": 0.25, "window": 20, "keep_samples": 20, "keep_days": 7}


def _exchange(number: int, answer: str = "Of course.", **fields: Any) -> pb.SampleTrafficResponse:
    return pb.SampleTrafficResponse(
        id=f"chatcmpl-{number}",
        messages=[
            pb.Message(role="system", content="Be kind."),
            pb.Message(role="user", content=f"Question {number} of ann@mail.example"),
        ],
        text=answer,
        end_time_ms=int(time.time() * 1000),
        served=1,
        **fields,
    )


@asynccontextmanager
async def _reading(world: Watch, hook: Redact = redact) -> AsyncIterator[LiveReading]:
    platform = world.store.platform
    replica = GrpcTraffic("fake:1", world.to_generator)
    made = LiveReading(
        platform.live, platform.measuring, world.store.registry, [replica], hook, interval_s=0.05
    )
    task = asyncio.create_task(made.lead(1))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(looked: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not looked():
            await asyncio.sleep(0.02)


def _kept(world: Watch, monitor: Monitor) -> list[Sample]:
    return world.store.platform.live.newest(monitor.monitor_id, 0, 0, 1000)


async def test_exchanges_are_kept_redacted_and_shown_with_who_read_them(tmp_path: Path) -> None:
    async with watch(tmp_path) as world, _reading(world):
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        await _until(lambda: world.generator.watched == [(ROUTE, 0.25)])
        world.generator.traffic.put_nowait(_exchange(1, "Call +49 30 901820.", adapter="a-1"))
        world.generator.traffic.put_nowait(_exchange(2, "  "))
        await _until(lambda: bool(_kept(world, monitor)))
        kept = _kept(world, monitor)[0]
        assert (kept.request, kept.answer) == ("Question 1 of [email]", "Call [phone].")
        assert (kept.number, kept.adapter, kept.request_id) == (1, "a-1", "chatcmpl-1")
        after = await world.monitors.get(monitor.monitor_id)
        assert (after.live_kept, after.live_last_time) == (1, kept.end_time)
        shown, token = await world.monitors.samples(monitor.monitor_id)
        assert (shown, token) == ([kept], "")
        read = [one for one in world.store.audit_log.entries(0, 100) if one.action == "monitor.read_samples"]
        assert len(read) == 1
        counted = metrics.LIVE_EXCHANGES.labels(monitor.monitor_id, "empty")
        await _until(lambda: counted._value.get() == 1)


@pytest.mark.parametrize("fault", ["raises", "no text", "hangs"])
async def test_exchange_that_cannot_be_redacted_is_not_kept_and_its_text_in_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(reading_module, "REDACTION_S", 0.2)

    def hook(text: str) -> Any:
        if "Question 1 " not in text and text != "Of course.":
            return text
        if fault == "hangs":
            time.sleep(0.6)
        if fault == "raises":
            raise ValueError(f"cannot do {text}")
        return None

    async with watch(tmp_path) as world:
        with capture_logs() as logs:
            async with _reading(world, hook):
                monitor = await world.monitors.create(monitor_text(live=LIVE))
                await _until(lambda: bool(world.generator.watched))
                world.generator.traffic.put_nowait(_exchange(1))
                dropped = metrics.LIVE_EXCHANGES.labels(monitor.monitor_id, "not_redacted")
                await _until(lambda: dropped._value.get() == 1)
                await asyncio.sleep(0.7 if fault == "hangs" else 0)
                world.generator.traffic.put_nowait(_exchange(2, "Yes."))
                await _until(lambda: bool(_kept(world, monitor)))
        assert [one.request_id for one in _kept(world, monitor)] == ["chatcmpl-2"]
    told = [line for line in logs if line["event"] == "live.not_redacted"]
    assert told
    assert "Question" not in str(logs)


async def test_no_more_than_so_many_and_none_for_longer_are_kept(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        live = world.store.platform.live
        now = datetime.now(UTC)
        made = [
            Sample(monitor.monitor_id, 0, 0, f"r{n}", "q", "a", "", now - timedelta(days=n))
            for n in range(30)
        ]
        live.put(monitor.monitor_id, list(reversed(made)), 20)
        assert [one.request_id for one in _kept(world, monitor)] == [f"r{n}" for n in reversed(range(20))]
        assert live.forget(monitor.monitor_id, timedelta(days=9.5)) == 10
        assert [one.request_id for one in _kept(world, monitor)] == [f"r{n}" for n in reversed(range(10))]
        assert (await world.monitors.get(monitor.monitor_id)).live_kept == 10
        live.put(monitor.monitor_id, made[:1], 20)
        assert _kept(world, monitor)[-1].number == 31, "no number is given twice"


async def test_generator_that_does_not_allow_it_is_told_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "_RETRY_S", 0.05)
    async with watch(tmp_path) as world, _reading(world):
        world.generator.samples_traffic = False
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        store = world.store.platform.monitors
        await _until(lambda: "not allowed" in store.get(monitor.monitor_id).live_error)
        assert store.get(monitor.monitor_id).live_error.startswith("fake:1: ")
        world.generator.samples_traffic = True
        await _until(lambda: bool(world.generator.watched))
        world.generator.traffic.put_nowait(_exchange(1))
        await _until(lambda: bool(_kept(world, monitor)))
        assert store.get(monitor.monitor_id).live_error == ""


async def test_what_ends_within_the_moments_after_a_change_is_left_out(tmp_path: Path) -> None:
    async with watch(tmp_path) as world, _reading(world):
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        await _until(lambda: bool(world.generator.watched))
        world.store.registry.routes.set(
            ROUTE, adapter="", expected_version=0, reason="a test", action="adapter.promote"
        )
        world.generator.traffic.put_nowait(_exchange(1))
        left_out = metrics.LIVE_EXCHANGES.labels(monitor.monitor_id, "settling")
        await _until(lambda: left_out._value.get() == 1)
        late = _exchange(2)
        late.end_time_ms += 60_000
        world.generator.traffic.put_nowait(late)
        live = world.store.platform.live
        await _until(lambda: bool(live.newest(monitor.monitor_id, 1, 0, 9)))
        assert [one.request_id for one in live.newest(monitor.monitor_id, 1, 0, 9)] == ["chatcmpl-2"]


async def test_paused_and_deleted_monitors_read_nothing(tmp_path: Path) -> None:
    async with watch(tmp_path) as world, _reading(world) as made:
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        await _until(lambda: bool(made._reading))
        await world.monitors.pause(monitor.monitor_id, paused=True)
        await _until(lambda: not made._reading)
        await world.monitors.pause(monitor.monitor_id, paused=False)
        await _until(lambda: bool(made._reading))
        world.generator.traffic.put_nowait(_exchange(1))
        await _until(lambda: bool(_kept(world, monitor)))
        await world.monitors.delete(monitor.monitor_id)
        await _until(lambda: not made._reading)
        assert _kept(world, monitor) == []
        with pytest.raises(NotFoundError):
            world.store.platform.live.put(monitor.monitor_id, [], 20)


async def test_only_an_admin_has_exchanges_kept_and_reads_them(tmp_path: Path) -> None:
    async with watch(tmp_path) as world:
        monitor = await world.monitors.create(monitor_text(live=LIVE))
        with acting_as(Principal("key:ana", frozenset({Scope.READ, Scope.RUN}))):
            await world.monitors.create(monitor_text())
            with pytest.raises(ForbiddenError, match="admin"):
                await world.monitors.create(monitor_text(live=LIVE))
            with pytest.raises(ForbiddenError, match="admin"):
                await world.monitors.samples(monitor.monitor_id)
