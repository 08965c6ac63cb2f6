"""The leader's work: read a share of what people ask by the watched names, redact it, keep it for a while."""

import asyncio
import random
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import structlog

from services.common.errors import ErrorCode, ValignError
from services.orchestrator.monitor import metrics
from services.orchestrator.monitor.document import LiveSettings
from services.orchestrator.monitor.live.judging import live_settings
from services.orchestrator.monitor.live.records import Exchange, Sample, Traffic
from services.orchestrator.monitor.live.redaction import Redact
from services.orchestrator.monitor.measurer import SETTLING
from services.orchestrator.monitor.records import Monitor
from services.orchestrator.records import LeadershipLost
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.store.live import SqlLive
from services.orchestrator.store.measuring import SqlMeasuring
from services.orchestrator.store.registry import SqlRegistry

log = structlog.get_logger(__name__)

MAX_CHARACTERS = 4000
"""Of a text, after redaction; encoders read less."""
REDACTION_S = 5.0
"""Seconds that a hook may take for one exchange."""
_RETRY_S = 5.0
_FORGET_EVERY = 30
_QUEUED = 256
_BATCH = 64


class LiveReading:
    """Reads while this process leads: one stream for each watched monitor and replica.

    Args:
        live, measuring, registry: over transactions that end with the leader's epoch.
        replicas: where exchanges come from, looked at anew in each step.
        redact: what each text goes through; an exchange whose text it can't do is dropped.
        interval_s: seconds between two looks at the monitors, and between two writes of a stream.
    """

    def __init__(
        self,
        live: SqlLive,
        measuring: SqlMeasuring,
        registry: SqlRegistry,
        replicas: Collection[Traffic],
        redact: Redact,
        *,
        interval_s: float = 2.0,
    ) -> None:
        self._live = live
        self._measuring = measuring
        self._registry = registry
        self._replicas = replicas
        self._redact = redact
        self._interval_s = interval_s
        # Of its own: a hook that hangs must not hold the threads of the store.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="redaction")
        self._reading: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._steps = 0
        self._ticker = Ticker("live exchanges", self.step, interval_s)

    async def lead(self, epoch: int) -> None:
        """Until cancelled."""
        try:
            await self._ticker.lead(epoch)
        finally:
            await self._stop(list(self._reading))
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def step(self) -> None:
        """Begin and end streams as the monitors say, and forget what is too old."""
        monitors = await asyncio.to_thread(self._measuring.all)
        watching = {one.monitor_id: (one, found) for one in monitors if (found := live_settings(one))}
        wanted = {
            (monitor_id, replica.target): (monitor, settings, replica)
            for monitor_id, (monitor, settings) in watching.items()
            if not monitor.paused
            for replica in self._replicas
        }
        over = [key for key, task in self._reading.items() if key not in wanted or task.done()]
        await self._stop(over)
        for key, (monitor, settings, replica) in wanted.items():
            if key not in self._reading:
                self._reading[key] = asyncio.create_task(self._read(monitor, settings, replica))
        if self._steps % _FORGET_EVERY == 0:
            for monitor_id, (_, settings) in watching.items():
                await self._forget(monitor_id, timedelta(days=settings.keep_days))
        self._steps += 1

    async def _stop(self, keys: Sequence[tuple[str, str]]) -> None:
        tasks = [self._reading.pop(key) for key in keys]
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, LeadershipLost):
                log.warning("live.cut", reason=str(result))
            elif isinstance(result, ValignError):
                log.warning("live.cut", reason=result.message)
            elif isinstance(result, Exception):
                log.error("live.stream_broke", exc_info=result)

    async def _forget(self, monitor_id: str, keep: timedelta) -> None:
        try:
            await asyncio.to_thread(self._live.forget, monitor_id, keep)
        except ValignError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def _read(self, monitor: Monitor, settings: LiveSettings, replica: Traffic) -> None:
        """One stream after another. A fault of the store ends it: the next step begins anew."""
        queue: asyncio.Queue[Sample] = asyncio.Queue(_QUEUED)
        keeping = asyncio.create_task(self._keep(monitor, settings, queue))
        try:
            while not keeping.done():
                try:
                    async with aclosing(replica.exchanges(monitor.route, settings.rate)) as exchanges:
                        async for exchange in exchanges:
                            await self._take(monitor, exchange, queue)
                            if keeping.done():
                                break
                except ValignError as error:
                    told = f"{replica.target}: {error.message}"
                    log.warning("live.no_exchanges", monitor_id=monitor.monitor_id, reason=told)
                    await asyncio.to_thread(self._live.trouble, monitor.monitor_id, told)
                    await asyncio.sleep(_RETRY_S * (0.5 + random.random()))  # noqa: S311 - a pause, no secret
            await keeping
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _take(self, monitor: Monitor, exchange: Exchange, queue: asyncio.Queue[Sample]) -> None:
        route = await asyncio.to_thread(self._registry.routes.get, monitor.route)
        settled = route.update_time + SETTLING if route else datetime.min.replace(tzinfo=UTC)
        outcome = "kept"
        if not exchange.request.strip() or not exchange.answer.strip():
            outcome = "empty"
        elif exchange.end_time < settled:
            outcome = "settling"
        elif queue.full():
            outcome = "dropped"
        elif (sample := await self._redacted(monitor, exchange, route.version if route else 0)) is None:
            outcome = "not_redacted"
        else:
            queue.put_nowait(sample)
        metrics.LIVE_EXCHANGES.labels(monitor.monitor_id, outcome).inc()
        if exchange.dropped:
            metrics.LIVE_EXCHANGES.labels(monitor.monitor_id, "dropped").inc(exchange.dropped)

    async def _redacted(self, monitor: Monitor, exchange: Exchange, version: int) -> Sample | None:
        """None if the hook can't do it; the log names the fault and no text."""
        try:
            async with asyncio.timeout(REDACTION_S):
                texts = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._through, exchange.request, exchange.answer
                )
        except Exception as error:
            # Somebody else's code. Its message may quote the text.
            log.warning("live.not_redacted", monitor_id=monitor.monitor_id, fault=type(error).__name__)
            return None
        return Sample(
            monitor.monitor_id, 0, version, exchange.id[:255], *texts, exchange.adapter, exchange.end_time
        )

    def _through(self, request: str, answer: str) -> tuple[str, str]:
        found = tuple(self._redact(text) for text in (request, answer))
        if not all(isinstance(text, str) and text for text in found):
            raise TypeError("the redaction hook gave no text")
        # Cut after it: half an address is still one.
        return found[0][:MAX_CHARACTERS], found[1][:MAX_CHARACTERS]

    async def _keep(self, monitor: Monitor, settings: LiveSettings, queue: asyncio.Queue[Sample]) -> None:
        while True:
            batch = [await queue.get()]
            await asyncio.sleep(min(self._interval_s, 1.0))
            while not queue.empty() and len(batch) < _BATCH:
                batch.append(queue.get_nowait())
            await asyncio.to_thread(self._live.put, monitor.monitor_id, batch, settings.keep_samples)
