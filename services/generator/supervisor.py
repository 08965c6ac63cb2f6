"""Keeps one engine running: start, watch, and start again when it dies."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from services.common.rpc.server import Health
from services.generator.metrics import ENGINE_INCARNATION, ENGINE_RESTARTS, ENGINE_UP
from services.generator.types import Engine

log = structlog.get_logger(__name__)

# An engine that ran this long did not die of what it was started with.
_HEALTHY_AFTER_S = 300.0


class Supervisor:
    """Owns the engine's life and the service's health.

    Args:
        engine: started by ``start``.
        on_death: called once after each death, before the engine starts again.
        backoff_s: first pause before a restart; it doubles with each death in a row.
        backoff_max_s: longest pause.
        on_start: called after each start, before the service says that it serves. Its failure is the start's.
    """

    def __init__(
        self,
        engine: Engine,
        on_death: Callable[[], None],
        *,
        backoff_s: float,
        backoff_max_s: float,
        on_start: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._engine = engine
        self._on_death = on_death
        self._on_start = on_start
        self._backoff_s = backoff_s
        self._backoff_max_s = backoff_max_s
        self._watch: asyncio.Task[None] | None = None

    async def start(self, health: Health) -> None:
        """Start the engine and watch it from then on.

        The first start's error is raised: what cannot start as configured is the operator's to mend.
        """
        await self._start()
        await self._serve(health)
        self._watch = asyncio.create_task(self._keep_alive(health))

    async def stop(self) -> None:
        """Stop watching and stop the engine."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        ENGINE_UP.set(0)
        await self._engine.stop()

    async def _start(self) -> None:
        await self._engine.start()
        if self._on_start is not None:
            await self._on_start()

    async def _serve(self, health: Health) -> None:
        await health.set_serving(True)
        ENGINE_UP.set(1)
        ENGINE_INCARNATION.set(self._engine.incarnation)

    async def _keep_alive(self, health: Health) -> None:
        pause_s = self._backoff_s
        while True:
            started = time.monotonic()
            reason = await self._engine.wait_dead()
            await health.set_serving(False)
            ENGINE_UP.set(0)
            log.error("engine.died", reason=reason)
            self._on_death()
            if time.monotonic() - started > _HEALTHY_AFTER_S:
                pause_s = self._backoff_s
            pause_s = await self._restart(pause_s)
            await self._serve(health)

    async def _restart(self, pause_s: float) -> float:
        """Start again until it works; returns the pause before the next restart."""
        while True:
            log.info("engine.restarting", in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._backoff_max_s)
            try:
                # In here too: an engine that cannot be cleared away must not end the watch over it.
                await self._engine.stop()
                ENGINE_RESTARTS.inc()
                await self._start()
            except Exception:
                log.exception("engine.start_failed")
            else:
                log.info("engine.restarted")
                return pause_s
