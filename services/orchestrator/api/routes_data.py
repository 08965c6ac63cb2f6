"""Packaged data and the state of the system over REST."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from services.common.errors import ErrorCode
from services.orchestrator.api.bodies import read_document
from services.orchestrator.api.examples import REFERENCE_DIFF_BODY, REFERENCE_SET_BODY
from services.orchestrator.api.models import (
    PromptSetList,
    PromptSetSummary,
    ReferenceSetList,
    ReferenceSetSummary,
    Service,
    StudyList,
    StudySummary,
    System,
)
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.governance import ReferenceDiffBody
from services.orchestrator.store.jsontext import finite

_NOT_FOUND = problems(ErrorCode.NOT_FOUND)


def router(application: Application) -> APIRouter:
    """The routes under /v1/reference-sets, /v1/prompt-sets, /v1/studies/shipped and /v1/system."""
    routes = APIRouter()

    @routes.get(
        "/reference-sets",
        tags=["data"],
        summary="List reference sets",
        operation_id="listReferenceSets",
        responses=problems(),
    )
    async def list_reference_sets() -> ReferenceSetList:
        """The packaged reference value sets."""
        found = await application.reference_sets()
        return ReferenceSetList(reference_sets=[ReferenceSetSummary.of(item) for item in found])

    @routes.post(
        "/reference-sets/check",
        tags=["data"],
        summary="Check a reference set",
        operation_id="checkReferenceSet",
        responses={200: {"description": "The set with every field."}, **problems(ErrorCode.INVALID_INPUT)},
        openapi_extra=REFERENCE_SET_BODY,
        response_class=JSONResponse,
    )
    async def check_reference_set(request: Request) -> Response:
        """Read a user's own reference set (YAML or JSON) and answer with all its fields."""
        return JSONResponse(finite(await application.check_reference_set(await read_document(request))))

    @routes.post(
        "/reference-sets/diff",
        tags=["data"],
        summary="Compare two versions of a reference set",
        operation_id="diffReferenceSets",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION),
        openapi_extra=REFERENCE_DIFF_BODY,
    )
    async def diff_reference_sets(request: Request) -> ReferenceDiffBody:
        """What changed in governance, principles and topics. Each side is an id, a run or a document."""
        return await application.governance.diff(await read_document(request))

    @routes.get(
        "/reference-sets/{set_id}",
        tags=["data"],
        summary="Get a reference set",
        operation_id="getReferenceSet",
        responses={200: {"description": "Every field of its file."}, **_NOT_FOUND},
    )
    async def get_reference_set(set_id: str) -> dict[str, Any]:
        """One packaged reference set."""
        return await application.reference_set(set_id)

    @routes.get(
        "/prompt-sets",
        tags=["data"],
        summary="List prompt sets",
        operation_id="listPromptSets",
        responses=problems(),
    )
    async def list_prompt_sets() -> PromptSetList:
        """The packaged prompt sets."""
        return PromptSetList(
            prompt_sets=[PromptSetSummary.of(item) for item in await application.prompt_sets()]
        )

    @routes.get(
        "/prompt-sets/{set_id}",
        tags=["data"],
        summary="Get a prompt set",
        operation_id="getPromptSet",
        responses={200: {"description": "Every field of its file."}, **_NOT_FOUND},
    )
    async def get_prompt_set(set_id: str) -> dict[str, Any]:
        """One packaged prompt set."""
        return await application.prompt_set(set_id)

    @routes.get(
        "/studies/shipped",
        tags=["studies"],
        summary="List shipped studies",
        operation_id="listShippedStudies",
        responses=problems(),
    )
    async def list_shipped_studies() -> StudyList:
        """The studies that valign ships."""
        return StudyList(studies=[StudySummary.of(item) for item in await application.shipped_studies()])

    @routes.get(
        "/studies/shipped/{study_id}",
        tags=["studies"],
        summary="Get a shipped study",
        operation_id="getShippedStudy",
        response_class=Response,
        responses={
            200: {
                "description": "The study's file, comments and all.",
                "content": {"application/yaml": {"schema": {"$ref": "#/components/schemas/Study"}}},
            },
            **_NOT_FOUND,
        },
    )
    async def get_shipped_study(study_id: str) -> Response:
        """A study file, ready to be sent to `POST /v1/runs`."""
        study = await application.shipped_study(study_id)
        return Response(study.text, media_type="application/yaml")

    @routes.get(
        "/system",
        tags=["system"],
        summary="Look at the services",
        operation_id="getSystem",
        responses=problems(),
    )
    async def get_system() -> System:
        """Ask each service what it is and whether it serves. A service that is away is no error."""
        return System(services=[Service.of(state) for state in await application.system()])

    return routes
