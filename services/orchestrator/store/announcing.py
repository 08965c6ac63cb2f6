"""What runs, adapters and routes tell other systems, written in the transaction of what it tells.

Called by the change itself, once it is known to be one: a step that is repeated changes nothing, and
announces nothing.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from services.orchestrator.event_types import (
    EVENT_TYPES,
    AdapterApprovalAsked,
    AdapterApproved,
    AdapterPromoted,
    AdapterRegistered,
    AdapterRejected,
    EventData,
    RouteCanary,
    RouteRolledBack,
    RunCreated,
    RunEnded,
    RunVerdict,
    RunVerdictReason,
    short,
)
from services.orchestrator.identity import current_principal
from services.orchestrator.records import RunRecord
from services.orchestrator.registry.records import AdapterRecord, AdapterState, RouteRecord
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.outbox import announce
from services.orchestrator.store.tables_operations import adapter_approvals

_KIND_OF = {event_type.data: event_type.kind for event_type in EVENT_TYPES.values()}
# What the audit log says of how a run ended.
_TOLD_AT_THE_END = ("decision", "report_uri", "code", "message")
# What the gate can decide; a run without a verdict has None.
_DECISIONS = frozenset({"promote", "hold", "reject"})


def run_created(connection: sa.Connection, run: RunRecord, study_sha256: str) -> None:
    """A run is new: for other systems and for the audit log, which comes last."""
    data = RunCreated(run_id=run.run_id, name=run.name, created_by=run.created_by, study_sha256=study_sha256)
    _tell(connection, f"runs/{run.run_id}", data)
    details = {"name": run.name, "study_sha256": study_sha256}
    append_audit(connection, "run.create", "run", run.run_id, details)


def run_ended(connection: sa.Connection, run: RunRecord, kind: str, told: Mapping[str, Any]) -> None:
    """A run has ended, as ``kind`` ("run.succeeded" and its like) and ``told`` say: with which verdict, or
    for what reason. For other systems and for the audit log, which comes last."""
    subject = f"runs/{run.run_id}"
    ended = RunEnded(
        run_id=run.run_id,
        name=run.name,
        created_by=run.created_by,
        attempt=run.attempt,
        status=run.status.value,
        error_code=run.error_code,
        report_uri=run.report_uri,
    )
    _tell(connection, subject, ended)
    if told.get("decision") in _DECISIONS:
        verdict = RunVerdict(
            run_id=run.run_id,
            name=run.name,
            attempt=run.attempt,
            decision=told["decision"],
            adapter=(told.get("adapter") or {}).get("name", ""),
            reasons=tuple(RunVerdictReason.model_validate(reason) for reason in told.get("reasons") or ()),
        )
        _tell(connection, subject, verdict)
    details = {name: told[name] for name in _TOLD_AT_THE_END if name in told}
    append_audit(connection, kind, "run", run.run_id, details)


def adapter_registered(connection: sa.Connection, adapter: AdapterRecord, *, again: bool) -> None:
    """A training has ended with it; ``again`` after its files were pruned."""
    data = AdapterRegistered(
        adapter=adapter.name,
        sha256=adapter.sha256,
        run_id=adapter.run_id,
        arm=adapter.arm,
        iteration=adapter.iteration,
        base_model=adapter.base_model,
        rank=adapter.rank,
        again=again,
    )
    _tell(connection, _subject(adapter), data)


def adapter_moved(
    connection: sa.Connection,
    adapter: AdapterRecord,
    to: AdapterState,
    reason: str,
    *,
    require_approval: bool = False,
) -> None:
    """It has become a candidate that needs approval, or was rejected; other states are told of elsewhere, or
    concern nobody outside."""
    common = {**_named(adapter), "actor": current_principal().name, "reason": short(reason)}
    if to is AdapterState.REJECTED:
        _tell(connection, _subject(adapter), AdapterRejected(**common))
        return
    needed = to is AdapterState.CANDIDATE and (require_approval or adapter.approval_required)
    if needed and not _approved(connection, adapter):
        asked = AdapterApprovalAsked(**common, created_by=adapter.created_by)
        _tell(connection, _subject(adapter), asked)


def adapter_approved(connection: sa.Connection, adapter: AdapterRecord) -> None:
    """The caller has approved it."""
    data = AdapterApproved(**_named(adapter), actor=current_principal().name)
    _tell(connection, _subject(adapter), data)


def route_set(connection: sa.Connection, route: RouteRecord, action: str, former: str, reason: str) -> None:
    """A route serves something else; ``action`` is what the audit log calls it."""
    common: dict[str, Any] = {
        "route": route.name,
        "version": route.version,
        "adapter": route.adapter,
        "former": former,
        "actor": route.update_by,
        "reason": short(reason),
    }
    match action:
        case "adapter.promote":
            _tell(connection, f"adapters/{route.adapter}", AdapterPromoted(**common))
        case "route.set_canary":
            canary = {"canary_adapter": route.canary_adapter, "canary_share": route.canary_share}
            _tell(connection, f"routes/{route.name}", RouteCanary(**common, **canary))
        case "route.roll_back":
            _tell(connection, f"routes/{route.name}", RouteRolledBack(**common))
        case _:
            raise ValueError(f"no event is known for the action {action!r}")


def _tell(connection: sa.Connection, subject: str, data: EventData) -> None:
    announce(connection, _KIND_OF[type(data)], subject, data.model_dump(mode="json"))


def _subject(adapter: AdapterRecord) -> str:
    return f"adapters/{adapter.name}"


def _named(adapter: AdapterRecord) -> dict[str, str]:
    return {"adapter": adapter.name, "sha256": adapter.sha256, "run_id": adapter.run_id}


def _approved(connection: sa.Connection, adapter: AdapterRecord) -> bool:
    """By somebody other than who began its run, when it was a candidate before."""
    table = adapter_approvals.c
    query = sa.select(table.actor).where(table.name == adapter.name, table.actor != adapter.created_by)
    return connection.execute(query.limit(1)).first() is not None
