"""What the registry speaks of: adapters, their histories, routes, and the generator's replicas."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

DEFAULT_ROUTE = "valign"
BASE = ""
"""Where an adapter's name stands: the base model."""


class AdapterState(StrEnum):
    """A stage of an adapter's life; see ``lifecycle``."""

    TRAINED = "trained"
    PROVEN = "proven"
    CANDIDATE = "candidate"
    PROMOTED = "promoted"
    RETIRED = "retired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class NewAdapter:
    """What is registered once a training has ended."""

    name: str
    sha256: str
    uri: str
    run_id: str
    arm: str
    iteration: int
    base_model: str
    base_fingerprint: str
    rank: int
    approval_required: bool
    created_by: str


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter of the registry. ``prune_time``: when its files were removed."""

    name: str
    sha256: str
    uri: str
    run_id: str
    arm: str
    iteration: int
    base_model: str
    base_fingerprint: str
    rank: int
    state: AdapterState
    reason: str
    approval_required: bool
    created_by: str
    create_time: datetime
    update_time: datetime
    prune_time: datetime | None = None

    @property
    def etag(self) -> str:
        """Changes with its state, the reason for it, and the removal of its files."""
        text = json.dumps([self.state.value, self.reason, str(self.update_time), str(self.prune_time)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class AdapterChange:
    """One entry of an adapter's history; numbers rise by one from 1."""

    number: int
    time: datetime
    state: AdapterState
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class AdapterApproval:
    """One person's word for an adapter."""

    actor: str
    time: datetime
    comment: str


class ReplicaState(StrEnum):
    """How far an adapter is on one replica."""

    LOADING = "loading"
    PROVEN = "proven"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReplicaAdapter:
    """An adapter on one replica. ``proof`` is what the generator measured, empty until it is proven."""

    target: str
    adapter: str
    state: ReplicaState
    reason: str = ""
    attempts: int = 0
    proof: Mapping[str, Any] = field(default_factory=dict)
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """What was last seen of a replica; ``routes`` is the version that it serves, by route."""

    target: str
    serving: bool
    base_fingerprint: str = ""
    routes: Mapping[str, int] = field(default_factory=dict)
    error: str = ""
    seen_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What a public name shall serve. ``version`` rises with every change, from 1."""

    name: str
    adapter: str
    canary_adapter: str
    canary_share: float
    version: int

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters that it names."""
        named = {self.adapter, self.canary_adapter if self.canary_share else BASE}
        return frozenset(named - {BASE})


@dataclass(frozen=True, slots=True)
class RouteRecord(Route):
    """A route as it is wanted, and who wanted it."""

    update_time: datetime
    update_by: str

    @property
    def etag(self) -> str:
        """Changes with what the route shall serve; not with what the replicas report."""
        return str(self.version)


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One entry of a route's history."""

    version: int
    adapter: str
    canary_adapter: str
    canary_share: float
    time: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class AdapterDetails:
    """An adapter and all that happened to it; the history is oldest first."""

    adapter: AdapterRecord
    history: tuple[AdapterChange, ...]
    approvals: tuple[AdapterApproval, ...]
    replicas: tuple[ReplicaAdapter, ...]


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route, and how far the replicas are: "settled", "pending" or "failed", with the reason."""

    route: RouteRecord
    state: str
    reason: str
    replicas: tuple[ReplicaRecord, ...]
