"""One step of a run: its stage's events, cancelling, errors as data, and the time it took.

A step returns an envelope and raises nothing but asyncio's own cancellation (the process is
going down): so a failure is recorded like a result, and a restarted run meets it again.
"""

import errno
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NotRequired, Protocol, TypedDict

import structlog

from services.common.errors import NotReadyError, ValignError, error_for
from services.orchestrator.loop.cancellation import unless_cancelled
from services.orchestrator.loop.clock import Ledger
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.observing import Observing, Spent, StepSeen

log = structlog.get_logger(__name__)

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Envelope(TypedDict):
    """A step's result or error, its time in seconds, and what its calls cost (older records lack that)."""

    value: Any
    error: dict[str, Any] | None
    wall_s: float
    external_s: dict[str, float]
    usage: NotRequired[Spent]


class Record(Protocol):
    """Runs a step's body unless its envelope is recorded, and records it."""

    async def __call__(self, name: str, body: Callable[[], Awaitable[Envelope]]) -> Envelope: ...


class Steps:
    """The steps of one run, in order."""

    def __init__(self, ctx: RunContext, record: Record) -> None:
        self._ctx = ctx
        self._record = record
        self._observing = Observing(ctx)
        self.ledger = Ledger()
        self.finished: set[str] = set()
        """Names of the steps that have their result, also those that an earlier process has recorded."""

    async def run(
        self,
        name: str,
        stage: str,
        work: Callable[[], Coroutine[Any, Any, Any]],
        *,
        opens: bool = False,
        closes: Callable[[Any], bool] = lambda value: False,
        iteration: int | None = None,
    ) -> Any:
        """The work's result, from the record if there is one. Raises the work's ValignError.

        ``opens`` and ``closes`` (told the result) mark the stage's first and last step.
        """

        async def body() -> Envelope:
            with self._observing.step(name, stage, iteration) as seen:
                return await self._envelope(name, stage, work, opens, closes, iteration, seen)

        envelope = await self._record(name, body)
        self.ledger.add(stage, envelope["wall_s"], envelope["external_s"], envelope.get("usage"))
        if envelope["error"] is not None:
            raise error_for(**envelope["error"])
        self.finished.add(name)
        return envelope["value"]

    async def _envelope(
        self,
        name: str,
        stage: str,
        work: Callable[[], Coroutine[Any, Any, Any]],
        opens: bool,
        closes: Callable[[Any], bool],
        iteration: int | None,
        seen: StepSeen,
    ) -> Envelope:
        ctx = self._ctx
        ctx.tally.stage = stage
        value, error = None, None
        try:
            if opens:
                await ctx.stored(ctx.store.update_run, ctx.run_id, stage=stage)
                extra = {} if iteration is None else {"iteration": iteration}
                ctx.journal.emit("stage.started", stage=stage, **extra)
                await self._observing.stage_began(stage)
            value = await unless_cancelled(_with_space(work), ctx.cancelled)
            if closes(value):
                duration_s = self.ledger.stages_s.get(stage, 0.0) + ctx.clock.elapsed_s()
                await self._observing.stage_ended(stage, duration_s)
                ctx.journal.emit(
                    "stage.ended",
                    stage=stage,
                    duration_s=round(duration_s, 3),
                    usage=self.ledger.usage_of(stage, seen.spent()),
                )
            await ctx.journal.flush()
        except ValignError as raised:
            log.warning("step.failed", step=name, code=raised.code.value, message=raised.message)
            error = {"code": raised.code.value, "message": raised.message, "details": raised.details}
        except Exception:
            error_id = uuid.uuid4().hex
            log.exception("step.failed", step=name, request_id=error_id)
            message = f"internal error in {name}; the log has the trace under request id {error_id}"
            error = {"code": "INTERNAL", "message": message, "details": {}}
        # A leader whose time is over records nothing: what it was refused is no result of the step.
        await ctx.stored(ctx.store.check_leads)
        wall_s, external_s = ctx.clock.lap()
        await ctx.keep_tally()
        code = "" if error is None else str(error["code"])
        seen.ended(code, external_s)
        if code:
            await self._observing.stage_ended(stage, None, code)
        return Envelope(value=value, error=error, wall_s=wall_s, external_s=external_s, usage=seen.spent())


async def _with_space(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The work's result; NotReadyError where a disk is full, which is nobody's fault and can be cured."""
    try:
        return await work()
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise NotReadyError(
            f"no space is left where the artifacts are kept ({error.filename or error.strerror}): make room,"
            " then repeat the run; what it has stored stays"
        ) from error
