"""Comparisons of runs over REST."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.comparing import MAX_RUNS, Comparison

_EXAMPLE: dict[str, Any] = {"run_ids": ["r-20261121-k3m9qx", "r-20261121-k3qa7c"]}


class CompareRequest(BaseModel):
    """The runs to put side by side."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    run_ids: list[str] = Field(
        description=f"Ids of 2 to {MAX_RUNS} runs that have succeeded, in the order shown."
    )


def router(application: Application) -> APIRouter:
    """The routes under /v1/compare."""
    routes = APIRouter(tags=["results"])
    refused = problems(ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION)

    @routes.post("/compare", summary="Compare runs", operation_id="compareRuns", responses=refused)
    async def compare_runs(body: CompareRequest) -> Comparison:
        """Several models on one reference set, or several sets on one model: arms by topic with intervals,
        the matrix of trained on x measured against, and paired differences where runs share their inputs.

        412 with every reason for runs that differ in encoder, prompt set or ruler.
        """
        return await application.benchmarks.compare(body.run_ids)

    @routes.post(
        "/compare.html",
        summary="Compare runs as a page",
        operation_id="compareRunsHtml",
        response_class=Response,
        responses={
            200: {
                "description": "One page that opens offline.",
                "content": {"text/html": {"schema": {"type": "string"}}},
            },
            **refused,
        },
    )
    async def compare_runs_html(body: CompareRequest) -> Response:
        """The same comparison as one self-contained page."""
        page = await application.benchmarks.compare_html(body.run_ids)
        return Response(page, media_type="text/html; charset=utf-8")

    return routes
