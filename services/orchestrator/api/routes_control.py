"""Pausing, resuming and retrying runs over REST, and their steps."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.common.errors import ErrorCode
from services.orchestrator.api.etags import IfMatch, expected_etags
from services.orchestrator.api.models import Run
from services.orchestrator.api.models_control import RunSteps
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.expecting import expecting

Limit = Annotated[
    float | None,
    Query(description="This limit of the study's budget, instead of its own.", gt=0, le=1e12),
]
_MISSING, _STATE = ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION


def router(application: Application) -> APIRouter:
    """The routes under /v1/runs/{run_id} that steer a run."""
    routes = APIRouter(tags=["runs"])

    @routes.post(
        "/runs/{run_id}/pause",
        summary="Pause a run",
        operation_id="pauseRun",
        responses=problems(_MISSING, _STATE, ErrorCode.INVALID_INPUT),
    )
    async def pause_run(run_id: str, if_match: IfMatch = "") -> Run:
        """Stop a run where it is, and keep all that it has. Training in progress goes on to its end."""
        with expecting("run", run_id, expected_etags(if_match)):
            return Run.of(await application.pause_run(run_id))

    @routes.post(
        "/runs/{run_id}/resume",
        summary="Resume a run",
        operation_id="resumeRun",
        responses=problems(_MISSING, _STATE, ErrorCode.INVALID_INPUT),
    )
    async def resume_run(run_id: str, if_match: IfMatch = "") -> Run:
        """Let a paused run go on: it waits for its turn, and begins with the step that was cut."""
        with expecting("run", run_id, expected_etags(if_match)):
            return Run.of(await application.resume_run(run_id))

    @routes.post(
        "/runs/{run_id}/retry",
        summary="Retry a run",
        operation_id="retryRun",
        responses=problems(_MISSING, _STATE, ErrorCode.INVALID_INPUT),
    )
    async def retry_run(
        run_id: str,
        from_step: Annotated[
            str,
            Query(
                description="Name of a recorded step. Empty: the step that failed, or was cut.",
                examples=["train_1"],
            ),
        ] = "",
        max_tokens: Limit = None,
        max_training_steps: Limit = None,
        max_gpu_s: Limit = None,
        max_wall_s: Limit = None,
        if_match: IfMatch = "",
    ) -> Run:
        """Open a run that has ended again, from a step on. What it drew and trained before is used again.

        A run that its budget has ended goes on from there with a larger one.
        """
        asked = {
            "max_tokens": max_tokens,
            "max_training_steps": max_training_steps,
            "max_gpu_s": max_gpu_s,
            "max_wall_s": max_wall_s,
        }
        budget = {name: limit for name, limit in asked.items() if limit is not None}
        with expecting("run", run_id, expected_etags(if_match)):
            return Run.of(await application.retry_run(run_id, from_step, budget))

    @routes.get(
        "/runs/{run_id}/steps",
        summary="List a run's steps",
        operation_id="listRunSteps",
        responses=problems(_MISSING),
    )
    async def list_run_steps(run_id: str) -> RunSteps:
        """The steps that a run has recorded, in order: where a retry can begin."""
        return RunSteps.of(await application.run_steps(run_id))

    return routes
