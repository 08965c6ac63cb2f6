"""Prometheus metrics of the trainer. One job runs at a time: its gauges need no label."""

import math

from prometheus_client import Counter, Gauge, Histogram

from services.trainer.types import Job, JobState, Progress

JOBS_ENDED = Counter("valign_trainer_jobs_ended_total", "Jobs that ended, by state.", ("state",))
JOBS_WAITING = Gauge("valign_trainer_jobs_waiting", "Jobs that wait for another to end.")
JOBS_RUNNING = Gauge("valign_trainer_jobs_running", "1 while a job runs.")
JOB_SECONDS = Histogram(
    "valign_trainer_job_seconds",
    "Seconds that a job's processes ran, by the state that it ended in.",
    ("state",),
    buckets=(1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
CHILD_DEATHS = Counter("valign_trainer_child_deaths_total", "Processes that ended without a word.")
STEPS = Counter("valign_trainer_steps_total", "Optimizer steps done.")
TOKENS = Counter("valign_trainer_tokens_total", "Tokens trained on, without padding.")
LOSS = Gauge("valign_trainer_loss", "Loss of the job that runs, in nats a token; NaN while none runs.")
PROGRESS = Gauge(
    "valign_trainer_progress_ratio", "Share of the running job's steps that are done, in [0, 1]."
)
CPU_SECONDS = Counter("valign_trainer_cpu_seconds_total", "CPU seconds of the jobs' processes.")
GPU_SECONDS = Counter(
    "valign_trainer_gpu_seconds_total", "Seconds that jobs' processes ran on a GPU; 0 without one."
)


def begin() -> None:
    """Every end begins at 0: a counter that is born at 1 shows no increase."""
    for state in JobState:
        if state.ended:
            JOBS_ENDED.labels(state.value)


def show_progress(point: Progress, before: Progress | None) -> None:
    """One more step of the job that runs; ``before`` is the point before it."""
    STEPS.inc()
    # A job that goes on at a checkpoint tells some steps again.
    TOKENS.inc(max(0, point.tokens - (before.tokens if before else 0)))
    LOSS.set(point.loss)
    PROGRESS.set(point.step / point.total_steps if point.total_steps else 1.0)


def show_end(job: Job) -> None:
    """A job has ended."""
    JOBS_ENDED.labels(job.state.value).inc()
    JOB_SECONDS.labels(job.state.value).observe(job.duration_s)
    LOSS.set(math.nan)
    PROGRESS.set(0)
