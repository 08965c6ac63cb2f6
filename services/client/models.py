"""What the API answers, as types. Fields that a newer orchestrator adds are kept, and do not disturb.

A status that this client does not know stays the text that came.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# The member if there is one, else the text.
_KNOWN = Field(union_mode="left_to_right")


class Model(BaseModel):
    """Base of all."""

    model_config = ConfigDict(extra="allow", frozen=True)


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})


class Decision(StrEnum):
    """What a run's gate says."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


class AdapterState(StrEnum):
    """A stage of an adapter's life."""

    TRAINED = "trained"
    PROVEN = "proven"
    CANDIDATE = "candidate"
    PROMOTED = "promoted"
    RETIRED = "retired"
    REJECTED = "rejected"


class RunError(Model):
    """Why a run failed."""

    code: str
    message: str


class StageProgress(Model):
    """How far a stage is."""

    done: int
    total: int


class Run(Model):
    """One execution of a study."""

    run_id: str
    name: str
    status: Annotated[RunStatus | str, _KNOWN]
    stage: str
    identity: str
    create_time: datetime
    end_time: datetime | None = None
    cancel_requested: bool
    pause_requested: bool
    attempt: int
    created_by: str
    etag: str = ""
    error: RunError | None = None
    progress: dict[str, StageProgress]

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or been cancelled."""
        return self.status in ENDED


class RunPage(Model):
    """A page of runs."""

    runs: list[Run]
    next_page_token: str = ""


class Event(Model):
    """Something that happened in a run; numbers rise by one from 1."""

    number: int
    time: datetime
    kind: str
    data: dict[str, Any]


class Step(Model):
    """A recorded step of a run."""

    number: int
    name: str
    error_code: str = ""


class Principle(Model):
    """One principle that the model stated."""

    arm: str
    topic_id: str
    index: int
    draw: int
    principle: str
    adapter: str
    adapter_sha256: str


class Verdict(Model):
    """The gate's decision. ``reasons`` are the rules, those that decided first."""

    decision: Annotated[Decision | str, _KNOWN]
    headline: str
    reasons: list[dict[str, Any]] = []


class Adapter(Model):
    """One adapter of the registry."""

    name: str
    sha256: str
    uri: str
    run_id: str
    arm: str
    iteration: int
    base_model: str
    base_fingerprint: str
    rank: int
    state: Annotated[AdapterState | str, _KNOWN]
    reason: str
    approval_required: bool
    created_by: str
    create_time: datetime
    update_time: datetime
    prune_time: datetime | None = None
    etag: str = ""


class AdapterPage(Model):
    """A page of adapters."""

    adapters: list[Adapter]
    next_page_token: str = ""


class AdapterChange(Model):
    """One entry of an adapter's history."""

    number: int
    time: datetime
    state: Annotated[AdapterState | str, _KNOWN]
    actor: str
    reason: str


class Approval(Model):
    """One person's word."""

    actor: str
    time: datetime
    comment: str


class OnReplica(Model):
    """An adapter as one generator replica has it."""

    target: str
    adapter: str
    state: str
    reason: str
    attempts: int
    update_time: datetime | None = None


class AdapterWhole(Model):
    """One adapter and all that happened to it."""

    adapter: Adapter
    history: list[AdapterChange]
    approvals: list[Approval]
    replicas: list[OnReplica]


class RouteReplica(Model):
    """A route as one generator replica has it."""

    target: str
    serving: bool
    version: int
    seen_time: datetime | None = None
    error: str


class Route(Model):
    """A public name: what it shall serve, and how far the replicas are."""

    name: str
    adapter: str
    canary_adapter: str
    canary_share: float
    version: int
    update_time: datetime
    update_by: str
    state: str
    reason: str
    etag: str = ""
    replicas: list[RouteReplica]


class RouteChange(Model):
    """One entry of a route's history."""

    version: int
    adapter: str
    canary_adapter: str
    canary_share: float
    time: datetime
    actor: str
    reason: str


class RouteWhole(Model):
    """One route and its history, newest first."""

    route: Route
    history: list[RouteChange]


class ReferenceSet(Model):
    """A packaged reference set in short."""

    id: str
    version: str
    title: str
    steward: str
    review_date: str
    stakeholders_consulted: list[str] = []
    warnings: list[str] = []


class PromptSet(Model):
    """A packaged prompt set in short."""

    id: str
    version: str
    title: str
    sha256: str


class ShippedStudy(Model):
    """A shipped study in short."""

    id: str
    title: str


class Asset(Model):
    """A file that studies name by its sha256."""

    sha256: str
    kind: str
    name: str
    size_bytes: int
    create_time: datetime


class Ruler(Model):
    """A run that is frozen as the yardstick of others."""

    sha256: str
    name: str
    size_bytes: int
    create_time: datetime
    run_id: str
    model: str
    encoder: str
    reference_set: str
    prompt_set: str
    topics: list[str]
    inputs: int


class ValuesJob(Model):
    """The training of a head, or the measuring of a judge."""

    id: str
    kind: str
    name: str
    state: str
    stage: str
    done: int
    total: int
    error: RunError | None = None
    sha256: str
    evaluator: str
    fingerprint: str
    facts: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether it has succeeded or failed."""
        return self.state in ("succeeded", "failed")


class ApiKey(Model):
    """A key without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    create_time: datetime
    create_by: str
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    last_use_time: datetime | None = None


class CreatedApiKey(Model):
    """A new key; ``secret`` is shown once and kept nowhere."""

    api_key: ApiKey
    secret: str


class Caller(Model):
    """The caller as the orchestrator knows it."""

    name: str
    scopes: list[str]


class AuditEntry(Model):
    """One entry of the audit log; ``details`` is the JSON text that was hashed."""

    sequence: int
    time: str
    actor: str
    action: str
    target_kind: str
    target: str
    details: str
    previous_sha256: str
    sha256: str


class AuditVerdict(Model):
    """Whether the chain of the audit log holds."""

    intact: bool
    entries: int
    head_sha256: str
    broken_at: int
    reason: str


class Service(Model):
    """One service as it was found."""

    name: str
    target: str
    reachable: bool
    serving: bool
    model: str
    fingerprint: str
    version: str
    device: str
    latency_s: float | None = None
    error: str
