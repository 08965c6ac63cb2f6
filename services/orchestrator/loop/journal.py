"""A run's events, written in order by a task of their own so that the loop never waits for them."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from services.orchestrator.loop import metrics
from services.orchestrator.ports import RunStore

log = structlog.get_logger(__name__)

_TICK_S = 0.25


class Journal:
    """``emit`` from the event loop's thread; ``flush`` before what the events tell is relied on."""

    def __init__(self, store: RunStore, run_id: str, study: str = "") -> None:
        """``study`` is the name under which progress is shown in metrics; "" shows none."""
        self.study = study
        self._store = store
        self._run_id = run_id
        self._pending: list[tuple[str, dict[str, Any]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._last: dict[str, float] = {}

    def emit(self, kind: str, **data: Any) -> None:
        """Queue an event."""
        self._pending.append((kind, data))
        # A writer that has failed stays, so that the next flush tells.
        if self._writer is None or (self._writer.done() and not self._writer.exception()):
            self._writer = asyncio.create_task(self._write())

    def emit_throttled(self, kind: str, final: bool = False, **data: Any) -> None:
        """Queue an event unless one of its kind went out less than 0.25 s ago; ``final`` always goes."""
        if self.due(kind) or final:
            self.emit(kind, **data)

    def due(self, key: str) -> bool:
        """True at most four times a second for a key."""
        now = time.monotonic()
        if now - self._last.get(key, 0.0) < _TICK_S:
            return False
        self._last[key] = now
        return True

    async def flush(self) -> None:
        """Wait until everything emitted so far is stored. Raises what the store raises."""
        while self._writer is not None or self._pending:
            if self._writer is None:
                self._writer = asyncio.create_task(self._write())
            writer = self._writer
            # Only one writes at a time, or events would change places.
            await asyncio.wait({writer})
            if self._writer is writer:
                self._writer = None
            writer.result()

    async def settle(self) -> None:
        """Wait until nothing is being written any more; what could not be written is left."""
        if self._writer is not None:
            await asyncio.wait({self._writer})
            if not self._writer.cancelled() and self._writer.exception() is not None:
                log.warning("journal.lost", run_id=self._run_id, reason=repr(self._writer.exception()))

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            await asyncio.to_thread(self._store_batch, batch)

    def _store_batch(self, batch: list[tuple[str, dict[str, Any]]]) -> None:
        for kind, data in batch:
            self._store.add_event(self._run_id, kind, data)


class StageProgress:
    """Done and total of one stage, overall and by topic, told a few times a second.

    ``done`` is what the stage's earlier steps have settled, by topic.
    """

    def __init__(
        self,
        journal: Journal,
        stage: str,
        totals: Mapping[str, int],
        iteration: int | None = None,
        done: Mapping[str, int] | None = None,
    ) -> None:
        self._journal = journal
        self._stage = stage
        self._totals = totals
        self._done = {**dict.fromkeys(totals, 0), **(done or {})}
        self._told = dict.fromkeys(totals, -1)
        self._extra = {} if iteration is None else {"iteration": iteration}

    def add(self, topic_id: str, count: int = 1) -> None:
        """``count`` more items of a topic are settled."""
        self._done[topic_id] = min(self._done[topic_id] + count, self._totals[topic_id])
        if self._journal.due(f"progress {self._stage}"):
            self.tell()

    def tell(self) -> None:
        """Emit the topics that have moved, then the whole stage."""
        for topic_id, done in self._done.items():
            if done != self._told[topic_id]:
                self._told[topic_id] = done
                self._emit(done, self._totals[topic_id], topic=topic_id)
        done, total = sum(self._done.values()), sum(self._totals.values())
        self._emit(done, total)
        if self._journal.study:
            metrics.show_progress(self._journal.study, self._stage, done, total)

    def _emit(self, done: int, total: int, **data: Any) -> None:
        self._journal.emit("stage.progress", stage=self._stage, done=done, total=total, **data, **self._extra)
