"""The mirror as a whole: one step brings MLflow up to date; whoever leads repeats it.

What is due is read from the database each time (runs with events that MLflow lacks, adapters that changed,
routes), so that a step can be repeated, cut off, or made by another process. The outbox tells how far behind
the mirror is. MLflow being away delays nothing but the mirror: steps fail fast, and come less often.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from services.common.errors import ValignError
from services.common.redact import redact
from services.orchestrator.ports import LeadershipLost
from services.orchestrator.store.outbox import SqlOutbox
from services.orchestrator.store.tracking import SqlTracking
from services.orchestrator.tracking import metrics
from services.orchestrator.tracking.champions import Champions
from services.orchestrator.tracking.client import MlflowAwayError
from services.orchestrator.tracking.runs import RunMirror
from services.orchestrator.tracking.versions import VersionMirror

log = structlog.get_logger(__name__)

READER = "mlflow"
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LONGEST_ITEM_PAUSE_S = 3600.0
# Aliases that somebody else moves are seen this late; with mirror_back that often is asked for.
_LOOK_S = 60.0
_LOOK_OFTEN_S = 5.0
# A success is written this often where there is no news.
_NOTE_S = 10.0
_ALIASES = "aliases"
_MAX_FAILURE_CHARACTERS = 1000


@dataclass(slots=True)
class _Pause:
    """When something that failed is tried again: later each time."""

    longest_s: float
    failures: int = 0
    until_s: float = 0.0
    failure: str = ""

    def failed(self) -> None:
        self.failures += 1
        self.until_s = time.monotonic() + min(
            self.longest_s, _FIRST_PAUSE_S * 2 ** min(self.failures - 1, 20)
        )

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.until_s


class Mirror:
    """Runs, then versions, then aliases: each needs the one before.

    Args:
        look_often: look at the aliases every few seconds, because somebody may move them.
    """

    def __init__(
        self,
        tracking: SqlTracking,
        outbox: SqlOutbox,
        runs: RunMirror,
        versions: VersionMirror,
        champions: Champions,
        *,
        look_often: bool,
    ) -> None:
        self._tracking = tracking
        self._outbox = outbox
        self._runs = runs
        self._versions = versions
        self._champions = champions
        self._look_s = _LOOK_OFTEN_S if look_often else _LOOK_S
        self._looked_s = -float("inf")
        self._away = _Pause(_LONGEST_PAUSE_S)
        self._pauses: dict[str, _Pause] = {}
        self._noted_s = -_NOTE_S

    async def step(self) -> None:
        """Bring MLflow up to date, or note why not. Does nothing while it waits after a failure.

        Raises what nobody expected, after which it waits as well.
        """
        if not self._away.over:
            return
        try:
            await self._bring_up_to_date()
        except LeadershipLost as lost:
            # A cancellation would end this task for good; the next leader, or the next step, goes on.
            self._away.failed()
            log.warning("mlflow.step_cut_off", reason=str(lost))
        except MlflowAwayError as error:
            if not self._away.failures:
                log.warning("mlflow.away", reason=error.message)
            self._away.failed()
            metrics.FAILURES.labels("away").inc()
            await self._failed(error.message)
        except Exception as error:
            self._away.failed()
            metrics.FAILURES.labels("away").inc()
            await self._failed(f"{type(error).__name__}: {error}")
            raise
        else:
            if self._away.failures:
                log.info("mlflow.back", after_failures=self._away.failures)
            self._away = _Pause(_LONGEST_PAUSE_S)

    async def _bring_up_to_date(self) -> None:
        read = await asyncio.to_thread(self._outbox.read_by, READER)
        head = await asyncio.to_thread(self._outbox.head)
        if read is None:
            await asyncio.to_thread(self._tracking.begin)
            await asyncio.to_thread(self._outbox.mark_read, READER, head)
            read = head
        metrics.LAG.set(head - read)
        failures: list[str] = []
        runs = await asyncio.to_thread(self._tracking.due_runs)
        for run_id in runs:
            failures += await self._item(run_id, self._runs.follow(run_id))
        adapters = await asyncio.to_thread(self._tracking.due_adapters)
        for due in adapters:
            failures += await self._item(due.adapter.name, self._versions.follow(due))
        if head != read or adapters or time.monotonic() - self._looked_s >= self._look_s:
            failures += await self._item(_ALIASES, self._champions.look())
            self._looked_s = time.monotonic()
        # What failed stays due: the outbox is no list of what is to be done.
        if head != read:
            await asyncio.to_thread(self._outbox.mark_read, READER, head)
        metrics.LAG.set(0)
        if failures:
            await self._failed("; ".join(failures))
        else:
            await self._succeeded(news=bool(runs or adapters or head != read))

    async def _item(self, name: str, work: Coroutine[Any, Any, None]) -> list[str]:
        """Do one thing; what MLflow will not have of it holds nothing else back. Returns its failure."""
        pause = self._pauses.setdefault(name, _Pause(_LONGEST_ITEM_PAUSE_S))
        if not pause.over:
            work.close()
            return [pause.failure]
        try:
            await work
        except MlflowAwayError:
            raise
        except ValignError as error:
            pause.failed()
            pause.failure = f"{name}: {error.message}"
            metrics.FAILURES.labels("item").inc()
            log.warning("mlflow.item_failed", item=name, code=error.code.value, reason=error.message)
            return [pause.failure]
        del self._pauses[name]
        return []

    async def _failed(self, failure: str) -> None:
        self._noted_s = -_NOTE_S
        try:
            await asyncio.to_thread(self._tracking.failed, redact(failure)[:_MAX_FAILURE_CHARACTERS])
        except LeadershipLost as lost:
            log.warning("mlflow.step_cut_off", reason=str(lost))

    async def _succeeded(self, *, news: bool) -> None:
        metrics.LAST_SUCCESS.set_to_current_time()
        if news or time.monotonic() - self._noted_s >= _NOTE_S:
            await asyncio.to_thread(self._tracking.succeeded)
            self._noted_s = time.monotonic()
