"""Plans over REST."""

from fastapi import APIRouter, Request

from services.common.errors import ErrorCode
from services.orchestrator.api.bodies import read_document
from services.orchestrator.api.examples import PLAN_BODY
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.planning.document import Plan


def router(application: Application) -> APIRouter:
    """The routes under /v1/plans."""
    routes = APIRouter(tags=["studies"])

    @routes.post(
        "/plans",
        summary="Plan a study",
        operation_id="planStudy",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND),
        openapi_extra=PLAN_BODY,
    )
    async def plan_study(request: Request) -> Plan:
        """Estimate tokens, steps, seconds and memory of a run, and say what does not fit. Starts nothing."""
        return await application.planner.plan(await read_document(request))

    return routes
