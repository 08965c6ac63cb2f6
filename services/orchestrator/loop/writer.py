"""Completions on their way to the store: what arrives during one write goes into the next."""

import asyncio
from types import TracebackType
from typing import Self

from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import CompletionRecord


class CompletionWriter:
    """``put`` never waits; leaving the block waits until all that was put is stored."""

    def __init__(self, ctx: RunContext, arm: str) -> None:
        self._ctx = ctx
        self._arm = arm
        self._pending: list[CompletionRecord] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, record: CompletionRecord) -> None:
        """Store this record soon."""
        self._pending.append(record)
        if self._task is None or self._task.done():
            if self._task is not None:
                self._task.result()
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            await asyncio.to_thread(self._ctx.store.add_completions, self._ctx.run_id, batch)
            if self._ctx.tally.due():
                await self._ctx.keep_tally()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)
