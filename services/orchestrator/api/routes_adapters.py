"""Adapters and routes over REST."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.common.errors import ErrorCode
from services.orchestrator.api.etags import IfMatch, expected_etags, told
from services.orchestrator.api.lists import OrderBy, PageSize, PageToken
from services.orchestrator.api.models_adapters import (
    Adapter,
    AdapterPage,
    AdapterWhole,
    ApproveRequest,
    CanaryRequest,
    PromoteRequest,
    Pruned,
    RejectRequest,
    RollBackRequest,
    Route,
    RouteList,
    RouteWhole,
)
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.expecting import expecting
from services.orchestrator.listing import DEFAULT_PAGE_SIZE, ListOrder
from services.orchestrator.registry.records import AdapterState

_GONE = ErrorCode.NOT_FOUND
_NOT_NOW = ErrorCode.PRECONDITION
_TAG = "adapters"


def router(application: Application) -> APIRouter:
    """The routes under /v1/adapters and /v1/routes."""
    routes = APIRouter(tags=[_TAG])
    _add_adapters(routes, application)
    _add_routes(routes, application)
    return routes


def _add_adapters(routes: APIRouter, application: Application) -> None:
    @routes.get(
        "/adapters",
        summary="List adapters",
        operation_id="listAdapters",
        responses=problems(ErrorCode.INVALID_INPUT),
    )
    async def list_adapters(
        state: Annotated[AdapterState | None, Query(description="Only this state.")] = None,
        run_id: Annotated[str, Query(description="Only this run's.")] = "",
        order_by: OrderBy = ListOrder.NEWEST,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = "",
    ) -> AdapterPage:
        """The registry's adapters, a page at a time."""
        found, token = await application.registry.adapters(state, run_id, page_size, page_token, order_by)
        return AdapterPage(adapters=[Adapter.of(one) for one in found], next_page_token=token)

    # Before the routes with a name in them.
    @routes.post(
        "/adapters/prune",
        summary="Prune old adapters",
        operation_id="pruneAdapters",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN),
    )
    async def prune_adapters(
        dry_run: Annotated[bool, Query(description="Only tell what would be removed.")] = False,
    ) -> Pruned:
        """Remove the files of old adapters that nothing refers to, by the retention rule."""
        return Pruned(pruned=await application.registry.prune(dry_run))

    @routes.get(
        "/adapters/{name}", summary="Get an adapter", operation_id="getAdapter", responses=problems(_GONE)
    )
    async def get_adapter(name: str, response: Response) -> AdapterWhole:
        """One adapter, with its history, its approvals and where it is loaded."""
        found = await application.registry.adapter(name)
        told(response, found.adapter.etag)
        return AdapterWhole.of(found)

    @routes.post(
        "/adapters/{name}/approve",
        summary="Approve an adapter",
        operation_id="approveAdapter",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN, _GONE, _NOT_NOW),
    )
    async def approve_adapter(name: str, body: ApproveRequest, if_match: IfMatch = "") -> Adapter:
        """Record the caller's approval. Who began the adapter's run cannot approve it."""
        with expecting("adapter", name, expected_etags(if_match)):
            return Adapter.of(await application.registry.approve(name, body.comment))

    @routes.post(
        "/adapters/{name}/reject",
        summary="Reject an adapter",
        operation_id="rejectAdapter",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN, _GONE, _NOT_NOW),
    )
    async def reject_adapter(name: str, body: RejectRequest, if_match: IfMatch = "") -> Adapter:
        """Say that an adapter must never be promoted. One that a route serves cannot be rejected."""
        with expecting("adapter", name, expected_etags(if_match)):
            return Adapter.of(await application.registry.reject(name, body.reason))

    @routes.post(
        "/adapters/{name}/promote",
        summary="Promote an adapter",
        operation_id="promoteAdapter",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def promote_adapter(name: str, body: PromoteRequest, if_match: IfMatch = "") -> Route:
        """Make it what a route serves, once every replica has proven it. If one cannot, nothing changes."""
        with expecting("adapter", name, expected_etags(if_match)):
            return Route.of(await application.registry.promote(name, body.route, body.override_reason))


def _add_routes(routes: APIRouter, application: Application) -> None:
    @routes.get("/routes", summary="List routes", operation_id="listRoutes", responses=problems())
    async def list_routes() -> RouteList:
        """The public names, what they serve, and how far each replica is."""
        return RouteList(routes=[Route.of(view) for view in await application.registry.routes()])

    @routes.get("/routes/{name}", summary="Get a route", operation_id="getRoute", responses=problems(_GONE))
    async def get_route(name: str, response: Response) -> RouteWhole:
        """One route with its history."""
        view, history = await application.registry.route(name)
        told(response, view.route.etag)
        return RouteWhole.of(view, history)

    @routes.post(
        "/routes/{name}/canary",
        summary="Set a route's canary",
        operation_id="setCanary",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def set_canary(name: str, body: CanaryRequest, if_match: IfMatch = "") -> Route:
        """Send a share of the route's requests to an adapter; a share of 0 ends that."""
        with expecting("route", name, expected_etags(if_match)):
            return Route.of(await application.registry.set_canary(name, body.adapter, body.share))

    @routes.post(
        "/routes/{name}/rollback",
        summary="Roll a route back",
        operation_id="rollBackRoute",
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.FORBIDDEN, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def roll_back_route(name: str, body: RollBackRequest, if_match: IfMatch = "") -> Route:
        """Make it serve what it served before, any earlier adapter, or the base model."""
        with expecting("route", name, expected_etags(if_match)):
            return Route.of(await application.registry.roll_back(name, body.to, body.reason))
