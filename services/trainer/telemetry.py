"""Where a job comes from, for its log lines and its span; and what its processes cost.

The call that starts a job is over long before the job is, and a restarted service goes on with it: run id and
trace context are kept in the job's folder.
"""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.context import Context

from services.common import tracing
from services.trainer import metrics
from services.trainer.store import JobFolder, write_atomic
from services.trainer.types import Job

_FILE = "origin.json"


def note_origin(folder: JobFolder) -> None:
    """Keep run id and trace context of the call that is served now."""
    origin = tracing.carrier()
    run_id = structlog.contextvars.get_contextvars().get("run_id")
    write_atomic(folder.path / _FILE, origin | ({"run_id": str(run_id)} if run_id else {}))


@contextmanager
def from_origin(folder: JobFolder) -> Iterator[Context]:
    """Log lines of the block carry the run's id and its trace's; the context is that of the job's call."""
    try:
        origin = json.loads((folder.path / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        # A job of an older version.
        origin = {}
    run_id = str(origin.pop("run_id", ""))
    parent = tracing.context_from({name: str(value) for name, value in origin.items()})
    ids = {"run_id": run_id} if run_id else {}
    with structlog.contextvars.bound_contextvars(**ids), tracing.within(parent):
        yield parent


@contextmanager
def job_span(job: Job, folder: JobFolder) -> Iterator[Callable[[Job], None]]:
    """A span around a job in this process; what it yields is told the job as it has ended."""
    with from_origin(folder), tracing.span("training", {"valign.job.id": job.job_id}) as span:
        run_id = structlog.contextvars.get_contextvars().get("run_id")
        if run_id:
            span.set_attribute(tracing.RUN_ID, run_id)
        metrics.JOBS_RUNNING.set(1)

        def told(ended: Job) -> None:
            span.set_attribute("valign.job.state", ended.state.value)
            span.set_attribute("valign.job.attempts", ended.attempts)
            if ended.progress is not None:
                span.set_attribute("valign.training.steps", ended.progress.step)
                span.set_attribute("valign.training.tokens", ended.progress.tokens)
                span.set_attribute("valign.training.loss", ended.progress.loss)
            if ended.error_code:
                tracing.mark_error(span, ended.error_code)

        try:
            yield told
        finally:
            metrics.JOBS_RUNNING.set(0)


def children_cpu_s() -> float:
    """CPU seconds of all processes that this one has started and that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
