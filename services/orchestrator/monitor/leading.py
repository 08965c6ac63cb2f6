"""The leader's work: queue what is due, measure what is queued, open the runs that alarms want.

Nothing is remembered between steps but what the database holds. A measurement that was cut, as its process
was killed or lost the lead, goes on where it was.
"""

import asyncio
from datetime import UTC, datetime

import structlog

from services.common.errors import ValignError
from services.orchestrator.monitor import metrics
from services.orchestrator.monitor.document import next_fire
from services.orchestrator.monitor.live.judging import LiveJudge
from services.orchestrator.monitor.measurer import Measurer
from services.orchestrator.monitor.opening import Opener
from services.orchestrator.monitor.records import Kind, Measurement, Monitor
from services.orchestrator.records import LeadershipLost
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.store.measuring import SqlMeasuring
from services.orchestrator.store.monitors import SqlMonitors
from services.orchestrator.store.registry import SqlRegistry

log = structlog.get_logger(__name__)

KEPT_MEASUREMENTS = 50
"""Answers of older ones are forgotten; their numbers stay."""
_TIDY_EVERY = 3600


class Monitoring:
    """Measures while this process leads.

    Args:
        monitors, measuring, registry: over transactions that end with the leader's epoch.
        concurrency: measurements at once; of one monitor there is one at a time.
        timeout_s: seconds that one measurement may take.
        interval_s: seconds between two looks, at most.
    """

    def __init__(
        self,
        monitors: SqlMonitors,
        measuring: SqlMeasuring,
        registry: SqlRegistry,
        measurer: Measurer,
        opener: Opener,
        judge: LiveJudge,
        *,
        concurrency: int = 2,
        timeout_s: float = 1800.0,
        interval_s: float = 1.0,
    ) -> None:
        self._monitors = monitors
        self._measuring = measuring
        self._registry = registry
        self._measurer = measurer
        self._opener = opener
        self._judge = judge
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._steps = 0
        self._ticker = Ticker("monitors", self.step, interval_s)

    def nudge(self) -> None:
        """Look now. From the event loop's thread."""
        self._ticker.nudge()

    async def lead(self, epoch: int) -> None:
        """Until cancelled. What is being measured then goes on with whoever leads next."""
        try:
            await self._ticker.lead(epoch)
        finally:
            running = list(self._in_flight.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            metrics.silent()

    async def step(self, now: datetime | None = None) -> None:
        """Queue what is due, and begin to measure; does not wait for the measurements."""
        at = now or datetime.now(UTC)
        monitors = await asyncio.to_thread(self._measuring.all)
        routes = await asyncio.to_thread(self._registry.routes.all)
        versions = {route.name: route.version for route in routes}
        waiting = await asyncio.to_thread(self._measuring.open)
        for monitor in monitors:
            if monitor.monitor_id not in waiting:
                queued = await self._queue(monitor, versions.get(monitor.route, 0), at)
                if queued is not None:
                    waiting[monitor.monitor_id] = queued
        by_id = {monitor.monitor_id: monitor for monitor in monitors}
        for monitor_id, measurement in waiting.items():
            free = len(self._in_flight) < self._concurrency and monitor_id not in self._in_flight
            if free and monitor_id in by_id:
                task = asyncio.create_task(self._measure(by_id[monitor_id], measurement))
                self._in_flight[monitor_id] = task
        for alarm in await asyncio.to_thread(self._measuring.wanted_runs):
            if alarm.monitor_id in by_id:
                await self._opener.open(by_id[alarm.monitor_id], alarm)
        metrics.tell(monitors, await asyncio.to_thread(self._measuring.latest))
        if self._steps % _TIDY_EVERY == 0:
            await asyncio.to_thread(self._measuring.tidy, KEPT_MEASUREMENTS)
        self._steps += 1

    async def settled(self) -> None:
        """Wait for the measurements that have begun."""
        await asyncio.gather(*self._in_flight.values())

    async def _queue(self, monitor: Monitor, version: int, now: datetime) -> Measurement | None:
        """A baseline at once if there is none of what the route serves; else what the schedule asks for.

        After a failure even a baseline waits for the schedule. Moments that were missed count as one.
        """
        if monitor.paused:
            return None
        due = monitor.next_time <= now
        new = monitor.baseline_number == 0 or monitor.baseline_version != version
        if not due and (not new or monitor.failures > 0):
            return None
        document = monitor.document
        following = next_fire(document["schedule"], document["time_zone"], now) if due else None
        kind = Kind.BASELINE if new else Kind.SCHEDULED
        fire_time = monitor.next_time if due else now
        return await asyncio.to_thread(self._monitors.enqueue, monitor.monitor_id, kind, fire_time, following)

    async def _measure(self, monitor: Monitor, measurement: Measurement) -> None:
        where = {"monitor_id": monitor.monitor_id, "number": measurement.number}
        try:
            failure = await self._outcome(monitor, measurement)
            if failure:
                await asyncio.to_thread(self._measuring.fail, measurement, failure)
                log.warning("monitor.not_measured", **where, reason=failure)
            metrics.MEASUREMENTS.labels(monitor.monitor_id, "failed" if failure else "ok").inc()
        except LeadershipLost as lost:
            log.warning("monitor.outcome_not_kept", **where, reason=str(lost))
        except ValignError as error:
            log.warning("monitor.outcome_not_kept", **where, reason=error.message)
        finally:
            self._in_flight.pop(monitor.monitor_id, None)
        # At once: the next step may be due.
        self._ticker.nudge()

    async def _outcome(self, monitor: Monitor, measurement: Measurement) -> str:
        """Measure and keep the outcome; why that failed, or an empty text."""
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._measurer.measure(monitor, measurement)
                live = await self._judge.judge(monitor)
        except TimeoutError:
            return f"it took more than {self._timeout_s:g} s"
        except LeadershipLost:
            raise
        except ValignError as error:
            return error.message
        except Exception:
            # A fault of ours counts as a failure, or it would be met again each second.
            log.exception("monitor.measurement_broke", monitor_id=monitor.monitor_id)
            return "it could not be measured; the orchestrator's log says why"
        result = {**found.result, **({"live": live.as_result()} if live else {})}
        await asyncio.to_thread(
            self._measuring.succeed, measurement, found.found, found.message, result, found.prompts, live
        )
        log.info("monitor.measured", monitor_id=monitor.monitor_id, outcome=found.found.value)
        return ""
