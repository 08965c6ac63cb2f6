"""The REST application: routes, errors, middleware, OpenAPI, probes and metrics."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import structlog
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.common.errors import ErrorCode, NotReadyError
from services.orchestrator.access.authenticate import OPEN, Access
from services.orchestrator.api import (
    problems,
    routes_access,
    routes_adapters,
    routes_assets,
    routes_audit,
    routes_auditlog,
    routes_compare,
    routes_control,
    routes_data,
    routes_monitors,
    routes_plans,
    routes_reviews,
    routes_rulers,
    routes_runs,
    routes_values,
    routes_webhooks,
)
from services.orchestrator.api.access_http import AccessMiddleware
from services.orchestrator.api.etags import ConditionalMiddleware
from services.orchestrator.api.idempotency_http import IdempotencyMiddleware
from services.orchestrator.api.middleware import RequestMiddleware
from services.orchestrator.api.models import Status
from services.orchestrator.api.openapi import document
from services.orchestrator.application import Application
from services.orchestrator.assets import MAX_ASSET_BYTES
from services.orchestrator.values_training import MAX_LABEL_BYTES
from services.orchestrator.web import router as web_router

log = structlog.get_logger(__name__)

DESCRIPTION = """\
Measures whose values a language model speaks with, and moves them while the model serves.

Errors are RFC 9457 problem documents with a `code` of a closed table. Every answer carries
`X-Request-Id`; send your own to find it in the logs.
"""

_LARGER_BODIES = {
    f"/v1{routes_assets.PATH}": MAX_ASSET_BYTES,
    f"/v1{routes_values.HEADS_PATH}": MAX_LABEL_BYTES,
    f"/v1{routes_values.EVALUATIONS_PATH}": MAX_LABEL_BYTES,
}


def _always() -> bool:
    return True


def build_http_app(
    application: Application, is_serving: Callable[[], bool] = _always, access: Access = OPEN
) -> FastAPI:
    """The ASGI application.

    Args:
        application: what the routes call.
        is_serving: False while starting and draining; ``/readyz`` then answers 503.
        access: asked before each request; by default every caller on this machine may do everything.
    """
    app = FastAPI(
        title="valign",
        version=_version(),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[
            {"name": "runs", "description": "Begin, watch and steer runs."},
            {"name": "results", "description": "What a run found."},
            {"name": "studies", "description": "Check studies, and those that are shipped."},
            {"name": "data", "description": "Packaged reference sets and prompt sets."},
            {"name": "adapters", "description": "What was trained, and which of it speaks to the public."},
            {"name": "assets", "description": "Files that studies name by their sha256."},
            {"name": "values", "description": "The ten basic values, and evaluators of them."},
            {"name": "monitors", "description": "What serves is measured again, and drift raises an alarm."},
            {"name": "webhooks", "description": "Other systems that are told what happens."},
            {
                "name": "reviews",
                "description": "What people say of a run's texts, blind to their arms.",
            },
            {"name": "access", "description": "API keys, and who the caller is."},
            {"name": "audit log", "description": "Who did what, and whether that was changed since."},
            {"name": "system", "description": "The services, probes and metrics."},
        ],
        servers=[{"url": "/", "description": "The orchestrator that serves this document."}],
        redirect_slashes=False,
        # FastAPI's interactive pages load scripts from a CDN: nothing here calls out.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    # The last that is added is the first that is called.
    app.add_middleware(ConditionalMiddleware)
    app.add_middleware(IdempotencyMiddleware, book=application.idempotency, routes=app.router.routes)
    app.add_middleware(AccessMiddleware, access=access, routes=app.router.routes)
    app.add_middleware(RequestMiddleware, larger_bodies=_LARGER_BODIES)
    app.include_router(_probes(application, is_serving))
    # Packaged studies first: their paths are more exact than the ones with an id in them.
    app.include_router(routes_data.router(application), prefix="/v1")
    app.include_router(routes_runs.router(application), prefix="/v1")
    app.include_router(routes_plans.router(application), prefix="/v1")
    app.include_router(routes_control.router(application), prefix="/v1")
    app.include_router(routes_audit.router(application), prefix="/v1")
    app.include_router(routes_auditlog.router(application), prefix="/v1")
    app.include_router(routes_assets.router(application), prefix="/v1")
    app.include_router(routes_compare.router(application), prefix="/v1")
    app.include_router(routes_rulers.router(application), prefix="/v1")
    app.include_router(routes_values.router(application), prefix="/v1")
    app.include_router(routes_adapters.router(application), prefix="/v1")
    app.include_router(routes_reviews.router(application), prefix="/v1")
    app.include_router(routes_access.router(application), prefix="/v1")
    app.include_router(web_router(access.required))
    app.include_router(routes_monitors.router(application), prefix="/v1")
    app.include_router(routes_webhooks.router(application), prefix="/v1")
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def _probes(application: Application, is_serving: Callable[[], bool]) -> APIRouter:
    routes = APIRouter(tags=["system"])

    @routes.get(
        "/healthz", summary="Is the process alive?", operation_id="getHealth", responses=problems.problems()
    )
    async def healthz() -> Status:
        """Answers as long as the process does."""
        return Status(status="ok")

    @routes.get(
        "/readyz",
        summary="Can it take requests?",
        operation_id="getReadiness",
        responses=problems.problems(ErrorCode.NOT_READY),
    )
    async def readyz() -> Status:
        """503 while it starts or drains, and while its database does not answer."""
        if not is_serving():
            raise NotReadyError("the orchestrator is starting or stopping")
        try:
            await application.ready()
        except Exception as error:
            log.warning("database.away", exc_info=error)
            raise NotReadyError("the orchestrator's database does not answer") from error
        return Status(status="ok")

    @routes.get(
        "/metrics",
        summary="Prometheus metrics",
        operation_id="getMetrics",
        response_class=Response,
        responses={
            200: {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **problems.problems(),
        },
    )
    async def metrics() -> Response:
        """Metrics of this process in Prometheus's text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return routes


def _version() -> str:
    try:
        return version("valign")
    except PackageNotFoundError:
        return "0+unknown"
