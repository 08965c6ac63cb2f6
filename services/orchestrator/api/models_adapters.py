"""What the REST API answers of adapters and routes, and what it takes."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from services.orchestrator.api.lists import NextPage
from services.orchestrator.registry.records import (
    AdapterApproval,
    AdapterChange,
    AdapterDetails,
    AdapterRecord,
    AdapterState,
    ReplicaAdapter,
    ReplicaState,
    RouteChange,
    RouteView,
)
from services.orchestrator.registry.service import MAX_TEXT_CHARACTERS

ADAPTER_EXAMPLE: dict[str, Any] = {
    "name": "r-20261121-k3m9qx-i2-0badcafe",
    "sha256": "0badcafe1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5",
    "uri": "file:///data/artifacts/adapters/r-20261121-k3m9qx-i2-0badcafe",
    "run_id": "r-20261121-k3m9qx",
    "arm": "",
    "iteration": 2,
    "base_model": "google/gemma-2-2b-it",
    "base_fingerprint": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
    "rank": 16,
    "state": "candidate",
    "reason": "Promote: the value difference falls by 31%.",
    "approval_required": False,
    "created_by": "key:ci",
    "create_time": "2026-11-21T14:03:05.123456Z",
    "update_time": "2026-11-21T15:21:40.500000Z",
    "prune_time": None,
    "etag": "5f1d8c2b9a47e3d0",
}
_REPLICA: dict[str, Any] = {
    "target": "10.0.0.1:50051",
    "serving": True,
    "version": 3,
    "seen_time": "2026-11-21T15:22:00Z",
    "error": "",
}
ROUTE_EXAMPLE: dict[str, Any] = {
    "name": "valign",
    "adapter": ADAPTER_EXAMPLE["name"],
    "canary_adapter": "",
    "canary_share": 0.0,
    "version": 3,
    "update_time": "2026-11-21T15:21:58Z",
    "update_by": "key:ci",
    "state": "settled",
    "reason": "",
    "etag": "3",
    "replicas": [_REPLICA],
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ApproveRequest(_Body):
    """An approval."""

    comment: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="What there is to say about it.")


class RejectRequest(_Body):
    """A rejection."""

    reason: str = Field(
        min_length=1, max_length=MAX_TEXT_CHARACTERS, description="What is wrong with it.", examples=["rude"]
    )


class PromoteRequest(_Body):
    """A promotion."""

    route: str = Field("", max_length=64, description="The public name; empty for `valign`.")
    override_reason: str = Field(
        "",
        max_length=MAX_TEXT_CHARACTERS,
        description="Why an adapter that the gate holds is promoted all the same. Needs the scope `admin`.",
    )


class CanaryRequest(_Body):
    """A canary."""

    adapter: str = Field("", max_length=200, description="The adapter; not needed to end a canary.")
    share: float = Field(description="Share of the requests, in [0, 1]; 0 ends the canary.", examples=[0.1])


class RollBackRequest(_Body):
    """A roll-back."""

    to: str | None = Field(
        None,
        max_length=200,
        description="An adapter that it served before; empty for the base model; null for the one before.",
    )
    reason: str = Field("", max_length=MAX_TEXT_CHARACTERS, description="Why.")


class Adapter(BaseModel):
    """One adapter of the registry."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADAPTER_EXAMPLE]})

    name: str = Field(description="Its name; never used for anything else.")
    sha256: str = Field(description="sha256 (hex) of its manifest.")
    uri: str = Field(description="Folder in the artifact store.")
    run_id: str = Field(description="The run that trained it.")
    arm: str = Field(description="The arm that it belongs to; empty for the study's own.")
    iteration: int = Field(description="The iteration that it ends.")
    base_model: str = Field(description="Base model.")
    base_fingerprint: str = Field(description="sha256 (hex) over the base model's files.")
    rank: int = Field(description="Its rank.")
    state: AdapterState = Field(description="Where it stands.")
    reason: str = Field(description="Why, in words.")
    approval_required: bool = Field(description="True if somebody else must approve it first.")
    created_by: str = Field(description="Who began its run.")
    create_time: datetime = Field(description="When it was registered.")
    update_time: datetime = Field(description="When its state last changed.")
    prune_time: datetime | None = Field(description="When its files were removed.")
    etag: str = Field(description="Changes with its state; send it as `If-Match`.")

    @classmethod
    def of(cls, record: AdapterRecord) -> "Adapter":
        """From the record."""
        return cls(**asdict(record), etag=record.etag)


class AdapterPage(NextPage):
    """A page of adapters."""

    adapters: list[Adapter] = Field(description="In the order that was asked for.")


class Change(BaseModel):
    """One entry of an adapter's history."""

    number: int = Field(description="From 1.")
    time: datetime = Field(description="When.")
    state: AdapterState = Field(description="The state that it took.")
    actor: str = Field(description="Who did it; `valign` for the loop itself.")
    reason: str = Field(description="Why, in words.")

    @classmethod
    def of(cls, change: AdapterChange) -> "Change":
        """From the record."""
        return cls(**asdict(change))


class Approval(BaseModel):
    """One person's word."""

    actor: str = Field(description="Who.")
    time: datetime = Field(description="When.")
    comment: str = Field(description="What they said.")

    @classmethod
    def of(cls, approval: AdapterApproval) -> "Approval":
        """From the record."""
        return cls(**asdict(approval))


class OnReplica(BaseModel):
    """An adapter as one generator replica has it."""

    target: str = Field(description="The replica's address, host:port.")
    adapter: str = Field(description="The adapter.")
    state: ReplicaState = Field(description="How far it is.")
    reason: str = Field(description="Why it failed.")
    attempts: int = Field(description="Attempts so far.")
    update_time: datetime | None = Field(description="When this was written.")

    @classmethod
    def of(cls, entry: ReplicaAdapter) -> "OnReplica":
        """From the record."""
        return cls(**{name: value for name, value in asdict(entry).items() if name != "proof"})


class AdapterWhole(BaseModel):
    """One adapter and all that happened to it."""

    adapter: Adapter = Field(description="The adapter.")
    history: list[Change] = Field(description="Oldest first.")
    approvals: list[Approval] = Field(description="Who has approved it.")
    replicas: list[OnReplica] = Field(description="Where it is, by replica.")

    @classmethod
    def of(cls, details: AdapterDetails) -> "AdapterWhole":
        """From the record."""
        return cls(
            adapter=Adapter.of(details.adapter),
            history=[Change.of(one) for one in details.history],
            approvals=[Approval.of(one) for one in details.approvals],
            replicas=[OnReplica.of(one) for one in details.replicas],
        )


class Pruned(BaseModel):
    """What a pruning removed, or would remove."""

    pruned: list[str] = Field(description="Names, oldest first.")


class RouteReplica(BaseModel):
    """A route as one generator replica has it."""

    target: str = Field(description="The replica's address, host:port.")
    serving: bool = Field(description="True if it answered when it was asked last.")
    version: int = Field(description="The version that it serves; 0 for none.")
    seen_time: datetime | None = Field(description="When it was seen last.")
    error: str = Field(description="What is wrong with it, if something is.")


class Route(BaseModel):
    """A public name: what it shall serve, and how far the replicas are."""

    model_config = ConfigDict(json_schema_extra={"examples": [ROUTE_EXAMPLE]})

    name: str = Field(description="The public name.")
    adapter: str = Field(description="The adapter that it shall serve; empty for the base model.")
    canary_adapter: str = Field(description="The adapter that a share of the requests shall go to.")
    canary_share: float = Field(description="That share, in [0, 1].")
    version: int = Field(description="Rises with every change.")
    update_time: datetime = Field(description="When it was changed last.")
    update_by: str = Field(description="Who changed it.")
    state: str = Field(description="`settled` if every replica serves it; `pending`; `failed`.")
    reason: str = Field(description="Why it is pending or failed.")
    etag: str = Field(
        description="Changes with what it shall serve, not with what the replicas report; send it as "
        "`If-Match`."
    )
    replicas: list[RouteReplica] = Field(description="One entry a replica.")

    @classmethod
    def of(cls, view: RouteView) -> "Route":
        """From the record."""
        name = view.route.name
        return cls(
            **asdict(view.route),
            state=view.state,
            reason=view.reason,
            etag=view.route.etag,
            replicas=[
                RouteReplica(
                    target=one.target,
                    serving=one.serving,
                    version=one.routes.get(name, 0),
                    seen_time=one.seen_time,
                    error=one.error,
                )
                for one in view.replicas
            ],
        )


class RouteList(BaseModel):
    """Routes."""

    routes: list[Route] = Field(description="By name.")


class RouteEntry(BaseModel):
    """One entry of a route's history."""

    version: int = Field(description="The version that it made.")
    adapter: str = Field(description="The adapter; empty for the base model.")
    canary_adapter: str = Field(description="The canary.")
    canary_share: float = Field(description="Its share.")
    time: datetime = Field(description="When.")
    actor: str = Field(description="Who.")
    reason: str = Field(description="Why, in words.")


class RouteWhole(BaseModel):
    """One route and its history."""

    route: Route = Field(description="The route.")
    history: list[RouteEntry] = Field(description="Newest first.")

    @classmethod
    def of(cls, view: RouteView, history: list[RouteChange]) -> "RouteWhole":
        """From the records."""
        return cls(route=Route.of(view), history=[RouteEntry(**asdict(one)) for one in history])
