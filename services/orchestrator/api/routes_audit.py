"""Audit bundles and model cards over REST."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from services.common.errors import ErrorCode
from services.orchestrator.api.etags import REVALIDATE, matches, quoted
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application


def router(application: Application) -> APIRouter:
    """The routes under /v1/runs/{run_id} that an auditor needs."""
    routes = APIRouter(tags=["results"])
    not_found = problems(
        ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION, ErrorCode.NOT_READY, ErrorCode.OVERLOADED
    )

    @routes.get(
        "/runs/{run_id}/bundle",
        summary="Get a run's audit bundle",
        operation_id="getBundle",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "A zip with all that the report rests on, and a script that computes it "
                "again. `ETag` is its sha256 (hex).",
                "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            },
            **not_found,
        },
    )
    async def get_bundle(request: Request, run_id: str) -> Response:
        """Made when it is first asked for, and the same bytes until the run is retried."""
        bundle = await application.bundle(run_id)
        if matches(request.headers.get("if-none-match", ""), bundle.sha256):
            return Response(
                status_code=304, headers={"etag": quoted(bundle.sha256), "cache-control": REVALIDATE}
            )
        headers = {
            "content-length": str(bundle.size_bytes),
            "content-disposition": f'attachment; filename="valign-{run_id}.zip"',
            "etag": quoted(bundle.sha256),
            "cache-control": REVALIDATE,
        }
        parts = application.bundle_parts(bundle)
        return StreamingResponse(parts, media_type="application/zip", headers=headers)

    @routes.get(
        "/runs/{run_id}/model-card",
        summary="Get the model card of a run's adapter",
        operation_id="getModelCard",
        response_class=Response,
        responses={
            200: {
                "description": "README.md as the Hugging Face Hub reads it: metadata in YAML, then Markdown.",
                "content": {"text/markdown": {"schema": {"type": "string"}}},
            },
            **not_found,
        },
    )
    async def get_model_card(run_id: str) -> Response:
        """The verdict first, then the figures with their intervals, and what they cannot tell."""
        return Response(await application.model_card(run_id), media_type="text/markdown; charset=utf-8")

    return routes
