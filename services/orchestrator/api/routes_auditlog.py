"""The audit log over REST. Audit bundles of runs are in ``routes_audit``."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.api.lists import Moment, Text
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.auditlog import MAX_SEQUENCE, Entry
from services.orchestrator.listing import AuditFilter

PATH = "/audit-log"
_ENTRY: dict[str, Any] = {
    "sequence": 1,
    "time": "2026-11-21T14:03:05.123456+00:00",
    "actor": "key:ci",
    "action": "run.create",
    "target_kind": "run",
    "target": "r-20261121-8kq2zd",
    "details": '{"name":"demo"}',
    "previous_sha256": "0" * 64,
    "sha256": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
}
_VERDICT: dict[str, Any] = {
    "intact": True,
    "entries": 1,
    "head_sha256": _ENTRY["sha256"],
    "broken_at": 0,
    "reason": "",
}


class AuditVerdict(BaseModel):
    """Whether the chain of the audit log holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERDICT]})

    intact: bool = Field(description="True if it holds.")
    entries: int = Field(description="Entries that were read and hold.")
    head_sha256: str = Field(description="sha256 (hex) of the last of them; keep it elsewhere.")
    broken_at: int = Field(description="Sequence number where it is broken; 0 if it is intact.")
    reason: str = Field(description="How, in words.")


def router(application: Application) -> APIRouter:
    """The routes under /v1/audit-log."""
    routes = APIRouter(tags=["audit log"])

    @routes.get(
        PATH,
        summary="Export the audit log",
        operation_id="listAuditEntries",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "One entry a line, in order. `details` is the JSON text that was hashed.",
                "content": {
                    "application/x-ndjson": {"schema": {"type": "string"}, "example": json.dumps(_ENTRY)}
                },
            },
            **problems(ErrorCode.INVALID_INPUT),
        },
    )
    async def list_audit_entries(
        after: Annotated[
            int, Query(ge=0, le=MAX_SEQUENCE, description="Only entries after this sequence number.")
        ] = 0,
        limit: Annotated[
            int, Query(ge=0, le=MAX_SEQUENCE, description="At most so many; 0 for all there are.")
        ] = 0,
        actor: Annotated[Text, Query(description="Only what this principal did.")] = "",
        action: Annotated[Text, Query(description="Only this, for example `adapter.promote`.")] = "",
        target_kind: Annotated[
            Text, Query(description="Only what was done to this kind of thing, for example `adapter`.")
        ] = "",
        target: Annotated[Text, Query(description="Only what was done to the thing with this id.")] = "",
        time_after: Annotated[
            Moment | None, Query(description="Only entries written at or after this moment.")
        ] = None,
        time_before: Annotated[
            Moment | None, Query(description="Only entries written before this moment.")
        ] = None,
    ) -> StreamingResponse:
        """Who did what to which run, asset, adapter, route or key. With a filter the numbers have gaps."""
        where = AuditFilter(actor, action, target_kind, target, time_after, time_before)
        lines = _lines(application.audit_log.entries(after, limit, where))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @routes.get(
        f"{PATH}/verify",
        summary="Check the audit log",
        operation_id="verifyAuditLog",
        responses=problems(ErrorCode.INVALID_INPUT),
    )
    async def verify_audit_log(
        known_sequence: Annotated[
            int, Query(ge=0, le=MAX_SEQUENCE, description="An entry whose hash is known; 0 for none.")
        ] = 0,
        known_sha256: Annotated[str, Query(description="That entry's sha256 (hex).")] = "",
    ) -> AuditVerdict:
        """Reads the whole log. A broken chain is an answer, not an error."""
        found = await application.audit_log.verify(known_sequence, known_sha256)
        return AuditVerdict(
            intact=found.intact,
            entries=found.entries,
            head_sha256=found.head_sha256,
            broken_at=found.broken_at,
            reason=found.reason,
        )

    return routes


async def _lines(parts: AsyncIterator[Sequence[Entry]]) -> AsyncIterator[bytes]:
    async for part in parts:
        yield b"".join(
            json.dumps(entry.as_dict(), separators=(",", ":")).encode("ascii") + b"\n" for entry in part
        )
