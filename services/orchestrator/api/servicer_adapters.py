"""Adapters and routes over gRPC: convert, call the application, convert."""

from typing import Any

from services.common.errors import InvalidInputError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api.convert import etags, timestamp
from services.orchestrator.application import Application
from services.orchestrator.expecting import expecting
from services.orchestrator.listing import ListOrder, one_of
from services.orchestrator.registry.records import (
    DEFAULT_ROUTE,
    AdapterRecord,
    AdapterState,
    ReplicaAdapter,
    RouteView,
)

_DEFAULT_PAGE_SIZE = 50
_STATES = {
    AdapterState.TRAINED: pb.ADAPTER_STATE_TRAINED,
    AdapterState.PROVEN: pb.ADAPTER_STATE_PROVEN,
    AdapterState.CANDIDATE: pb.ADAPTER_STATE_CANDIDATE,
    AdapterState.PROMOTED: pb.ADAPTER_STATE_PROMOTED,
    AdapterState.RETIRED: pb.ADAPTER_STATE_RETIRED,
    AdapterState.REJECTED: pb.ADAPTER_STATE_REJECTED,
}
_FROM_STATE: dict[int, AdapterState] = {int(value): state for state, value in _STATES.items()}


class AdapterMethods:
    """The part of ``OrchestratorServicer`` that speaks of adapters and routes."""

    _application: Application

    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Any) -> pb.ListAdaptersResponse:
        """A page of adapters."""
        found, token = await self._application.registry.adapters(
            _state_from_pb(request.state),
            request.run_id,
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
            one_of(ListOrder, request.order_by, "order_by") or ListOrder.NEWEST,
        )
        return pb.ListAdaptersResponse(adapters=[_adapter(one) for one in found], next_page_token=token)

    async def GetAdapter(self, request: pb.GetAdapterRequest, context: Any) -> pb.GetAdapterResponse:
        """One adapter and all that happened to it."""
        found = await self._application.registry.adapter(request.name)
        return pb.GetAdapterResponse(
            adapter=_adapter(found.adapter),
            history=[
                pb.AdapterChange(
                    number=one.number,
                    time=timestamp(one.time),
                    state=_STATES[one.state],
                    actor=one.actor,
                    reason=one.reason,
                )
                for one in found.history
            ],
            approvals=[
                pb.AdapterApproval(actor=one.actor, time=timestamp(one.time), comment=one.comment)
                for one in found.approvals
            ],
            replicas=[_on_replica(one) for one in found.replicas],
        )

    async def ApproveAdapter(
        self, request: pb.ApproveAdapterRequest, context: Any
    ) -> pb.ApproveAdapterResponse:
        """The caller's approval."""
        with expecting("adapter", request.name, etags(request)):
            found = await self._application.registry.approve(request.name, request.comment)
        return pb.ApproveAdapterResponse(adapter=_adapter(found))

    async def RejectAdapter(self, request: pb.RejectAdapterRequest, context: Any) -> pb.RejectAdapterResponse:
        """Never to be promoted."""
        with expecting("adapter", request.name, etags(request)):
            found = await self._application.registry.reject(request.name, request.reason)
        return pb.RejectAdapterResponse(adapter=_adapter(found))

    async def PromoteAdapter(
        self, request: pb.PromoteAdapterRequest, context: Any
    ) -> pb.PromoteAdapterResponse:
        """What a route serves."""
        with expecting("adapter", request.name, etags(request)):
            view = await self._application.registry.promote(
                request.name, request.route, request.override_reason
            )
        return pb.PromoteAdapterResponse(route=_route(view))

    async def PruneAdapters(self, request: pb.PruneAdaptersRequest, context: Any) -> pb.PruneAdaptersResponse:
        """Remove old adapters."""
        return pb.PruneAdaptersResponse(pruned=await self._application.registry.prune(request.dry_run))

    async def ListRoutes(self, request: pb.ListRoutesRequest, context: Any) -> pb.ListRoutesResponse:
        """Every route."""
        found = await self._application.registry.routes()
        return pb.ListRoutesResponse(routes=[_route(view) for view in found])

    async def GetRoute(self, request: pb.GetRouteRequest, context: Any) -> pb.GetRouteResponse:
        """One route with its history."""
        view, history = await self._application.registry.route(request.name)
        changes = [
            pb.RouteChange(
                version=one.version,
                adapter=one.adapter,
                canary_adapter=one.canary_adapter,
                canary_share=one.canary_share,
                time=timestamp(one.time),
                actor=one.actor,
                reason=one.reason,
            )
            for one in history
        ]
        return pb.GetRouteResponse(route=_route(view), history=changes)

    async def SetCanary(self, request: pb.SetCanaryRequest, context: Any) -> pb.SetCanaryResponse:
        """A share of a route's requests."""
        with expecting("route", request.route or DEFAULT_ROUTE, etags(request)):
            view = await self._application.registry.set_canary(request.route, request.adapter, request.share)
        return pb.SetCanaryResponse(route=_route(view))

    async def RollBackRoute(self, request: pb.RollBackRouteRequest, context: Any) -> pb.RollBackRouteResponse:
        """What it served before."""
        to = request.to if request.HasField("to") else None
        with expecting("route", request.route or DEFAULT_ROUTE, etags(request)):
            view = await self._application.registry.roll_back(request.route, to, request.reason)
        return pb.RollBackRouteResponse(route=_route(view))


def _state_from_pb(value: int) -> AdapterState | None:
    if value == pb.ADAPTER_STATE_UNSPECIFIED:
        return None
    if value not in _FROM_STATE:
        raise InvalidInputError(f"state {value} is not known; known are {sorted(_FROM_STATE)}")
    return _FROM_STATE[value]


def _adapter(record: AdapterRecord) -> pb.AdapterRecord:
    return pb.AdapterRecord(
        name=record.name,
        sha256=record.sha256,
        uri=record.uri,
        run_id=record.run_id,
        arm=record.arm,
        iteration=record.iteration,
        base_model=record.base_model,
        base_fingerprint=record.base_fingerprint,
        rank=record.rank,
        state=_STATES[record.state],
        reason=record.reason,
        approval_required=record.approval_required,
        created_by=record.created_by,
        create_time=timestamp(record.create_time),
        update_time=timestamp(record.update_time),
        prune_time=None if record.prune_time is None else timestamp(record.prune_time),
        etag=record.etag,
    )


def _on_replica(entry: ReplicaAdapter) -> pb.ReplicaAdapter:
    return pb.ReplicaAdapter(
        target=entry.target,
        adapter=entry.adapter,
        state=entry.state.value,
        reason=entry.reason,
        attempts=entry.attempts,
        update_time=None if entry.update_time is None else timestamp(entry.update_time),
    )


def _route(view: RouteView) -> pb.RouteRecord:
    route = view.route
    return pb.RouteRecord(
        name=route.name,
        adapter=route.adapter,
        canary_adapter=route.canary_adapter,
        canary_share=route.canary_share,
        version=route.version,
        update_time=timestamp(route.update_time),
        update_by=route.update_by,
        state=view.state,
        reason=view.reason,
        etag=route.etag,
        replicas=[
            pb.RouteReplica(
                target=one.target,
                serving=one.serving,
                version=one.routes.get(route.name, 0),
                seen_time=None if one.seen_time is None else timestamp(one.seen_time),
                error=one.error,
            )
            for one in view.replicas
        ],
    )
