"""What the loop tells of a run to traces and metrics: its steps, its stages, its end, and what they cost."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from services.common import tracing, usage
from services.common.usage import Usage
from services.orchestrator.loop import metrics
from services.orchestrator.loop.clock import Spent as Spent
from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import RunRecord, RunStatus, TrainingStatus

TRAINER = "trainer"
"""A step that joins a job is told all that the job cost, whoever was told before; what the run used is
counted by ``follow_training``."""


def follow_training(ctx: RunContext, status: TrainingStatus, examples: int | None = None) -> None:
    """Count a job as far as it has come, in what the run has used and in the metrics."""
    _told(
        metrics.study_label(ctx.study.name),
        ctx.tally.stage,
        TRAINER,
        ctx.tally.follow_training(status, examples),
    )


def _told(study: str, stage: str, service: str, spent: Usage) -> None:
    metrics.CPU_SECONDS.labels(study, stage, service).inc(spent.cpu_s)
    if spent.gpu_s:
        metrics.GPU_SECONDS.labels(study, stage, service).inc(spent.gpu_s)


class StepSeen:
    """One step while it goes on."""

    def __init__(self, ctx: RunContext, stage: str, span: Any) -> None:
        self._ctx = ctx
        self._stage = stage
        self._span = span
        self._spent: dict[str, Usage] = {}

    def collect(self, service: str, spent: Usage) -> None:
        """A call of the step has ended, and cost this."""
        # valign.generator.v1.GeneratorService is the generator.
        parts = service.split(".")
        name = parts[1] if len(parts) > 2 else service
        self._spent.setdefault(name, Usage()).add(spent.cpu_s, spent.gpu_s)
        if name != TRAINER:
            # At once, so that it is counted also if this process dies before the step's end.
            self._ctx.tally.add(cpu_s=spent.cpu_s, gpu_s=spent.gpu_s)

    def spent(self) -> Spent:
        """What its calls have cost."""
        return {
            service: {"cpu_s": round(one.cpu_s, 6)} | ({"gpu_s": round(one.gpu_s, 6)} if one.gpu_s else {})
            for service, one in self._spent.items()
        }

    def ended(self, code: str, external_s: Mapping[str, float]) -> None:
        """The step's result or error (its code) is about to be recorded."""
        study = metrics.study_label(self._ctx.study.name)
        metrics.STEPS.labels(self._stage, code.lower() or "ok").inc()
        for kind, seconds in external_s.items():
            metrics.EXTERNAL_SECONDS.labels(kind).inc(seconds)
        for service, one in self._spent.items():
            if service != TRAINER:
                _told(study, self._stage, service, one)
        if code:
            tracing.mark_error(self._span, code)


class Observing:
    """Steps and stages of one run in this process."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx

    @contextmanager
    def step(self, name: str, stage: str, iteration: int | None) -> Iterator[StepSeen]:
        """A span around the step, under its stage's; its calls' costs are collected."""
        ctx = self._ctx
        told = {"valign.iteration": iteration}
        with tracing.step_span(ctx.run_id, ctx.attempt, stage, name, told) as span:
            seen = StepSeen(ctx, stage, span)
            with usage.collecting(seen.collect):
                yield seen

    async def stage_began(self, stage: str) -> None:
        """Note when, so that the stage's span begins there whichever process ends it."""
        if tracing.tracing_is_on():
            await self._ctx.put_value(self._began_key(stage), time.time_ns())

    async def stage_ended(self, stage: str, duration_s: float | None, code: str = "") -> None:
        """The stage's last step has ended, or a step of it has failed."""
        metrics.forget_progress(self._ctx.study.name, stage)
        if duration_s is not None:
            metrics.STAGE_SECONDS.labels(stage).observe(duration_s)
        if tracing.tracing_is_on():
            began_ns = await self._ctx.get_value(self._began_key(stage))
            if began_ns is not None:
                tracing.tell_stage(self._ctx.run_id, self._ctx.attempt, stage, int(began_ns), {}, code)

    def _began_key(self, stage: str) -> str:
        return f"stage_began:{self._ctx.attempt}:{stage}"


def run_ended(record: RunRecord, status: RunStatus, code: str) -> None:
    """A run has just been ended in the store."""
    created: datetime = record.create_time
    metrics.RUNS_ENDED.labels(status.value, code.lower() or "none").inc()
    metrics.RUN_SECONDS.labels(status.value).observe(max(0.0, time.time() - created.timestamp()))
    tracing.tell_run(
        record.run_id,
        int(created.timestamp() * 1e9),
        {
            "valign.run.name": record.name,
            "valign.run.status": status.value,
            "valign.run.attempts": record.attempt,
        },
        code or ("CANCELLED" if status is RunStatus.CANCELLED else ""),
    )
