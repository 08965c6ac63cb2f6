from dataclasses import replace
from pathlib import Path

import structlog

from services.common import tracing
from services.trainer import metrics
from services.trainer.store import JobFolder
from services.trainer.telemetry import from_origin, job_span, note_origin
from services.trainer.types import Job, JobState, Progress
from tests.fakes.spans import recorded

POINT = Progress(2, 4, 0.5, 1.25, 1e-4, 100.0, 3.0, tokens=120, device="cpu")


def test_job_goes_on_in_the_trace_and_run_that_asked_for_it(tmp_path: Path) -> None:
    folder, job = JobFolder(tmp_path), Job("j" * 64, "s" * 64, 1)
    with recorded() as seen:
        with structlog.contextvars.bound_contextvars(run_id="r-1"), tracing.span("StartTraining"):
            note_origin(folder)
        # Much later, perhaps in another process.
        with job_span(job, folder) as told:
            assert structlog.contextvars.get_contextvars()["run_id"] == "r-1"
            told(replace(job, state=JobState.SUCCEEDED, progress=POINT, attempts=1))
        asked, trained = seen.named("StartTraining")[0], seen.named("training")[0]
    assert trained.parent is not None
    assert trained.parent.span_id == asked.context.span_id
    assert dict(trained.attributes or {}) == {
        "valign.job.id": job.job_id,
        "valign.run.id": "r-1",
        "valign.job.state": "succeeded",
        "valign.job.attempts": 1,
        "valign.training.steps": 2,
        "valign.training.tokens": 120,
        "valign.training.loss": 1.25,
    }
    assert "run_id" not in structlog.contextvars.get_contextvars()


def test_job_of_an_older_version_has_no_origin_and_runs(tmp_path: Path) -> None:
    for content in (None, "{torn"):
        if content is not None:
            (tmp_path / "origin.json").write_text(content)
        with from_origin(JobFolder(tmp_path)):
            assert "run_id" not in structlog.contextvars.get_contextvars()


def test_progress_that_is_told_again_after_a_checkpoint_adds_no_tokens() -> None:
    before = metrics.TOKENS._value.get()
    metrics.show_progress(POINT, None)
    metrics.show_progress(replace(POINT, tokens=60), POINT)
    metrics.show_progress(replace(POINT, tokens=180), POINT)
    assert metrics.TOKENS._value.get() - before == 120 + 0 + 60
