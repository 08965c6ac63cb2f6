"""Drift that opens a run: by a principal of the monitor's own, and never one that promotes by itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from services.common.errors import DeadlineError, NotReadyError, OverloadedError, ValignError
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.monitor.records import Alarm, Monitor
from services.orchestrator.records import RunRecord
from services.orchestrator.store.measuring import SqlMeasuring

log = structlog.get_logger(__name__)

CreateRun = Callable[[str, str], Awaitable[tuple[RunRecord, bool]]]
"""Study and idempotency key to the run; ``Application.create_run``."""


def principal_of(monitor_id: str) -> Principal:
    """Whoever runs are begun by. It may run, and neither approve nor promote."""
    return Principal(f"monitor:{monitor_id}", frozenset({Scope.RUN}))


def held(study: dict[str, Any]) -> dict[str, Any]:
    """The study, whose adapter a person must approve, and nobody promotes without one."""
    promotion = {**study.get("promotion", {}), "approval": True, "automatic": False, "canary_share": None}
    return {**study, "promotion": promotion}


class Opener:
    """Opens what alarms want. The key is the alarm's: a crash between the two writes opens no second run."""

    def __init__(self, store: SqlMeasuring, create_run: CreateRun) -> None:
        self._store = store
        self._create_run = create_run

    async def open(self, monitor: Monitor, alarm: Alarm) -> None:
        """Once; what cannot be run is kept with the alarm as the reason. Other errors come again next
        time."""
        study = json.dumps(held(dict(monitor.document["on_drift"]["study"])))
        run_id, reason = "", ""
        try:
            with acting_as(principal_of(monitor.monitor_id)):
                run, _ = await self._create_run(study, f"monitor/{alarm.monitor_id}/{alarm.number}")
            run_id = run.run_id
        except (NotReadyError, OverloadedError, DeadlineError) as error:
            log.warning("monitor.run_waits", monitor_id=alarm.monitor_id, reason=error.message)
            return
        except ValignError as error:
            reason = error.message
        await asyncio.to_thread(self._store.opened, alarm, run_id, reason)
        log.info("monitor.run_opened", monitor_id=alarm.monitor_id, run_id=run_id, error=reason)
