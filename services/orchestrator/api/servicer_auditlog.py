"""The audit log over gRPC."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import convert
from services.orchestrator.application import Application
from services.orchestrator.auditlog import Entry
from services.orchestrator.clients.parts import in_parts


class AuditLogServicer:
    """Its two methods; part of ``OrchestratorServicer``."""

    _application: Application

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Any
    ) -> AsyncIterator[pb.ListAuditEntriesResponse]:
        """Entries in order, in parts."""
        where = convert.audit_filter(request)
        async for part in self._application.audit_log.entries(request.after, request.limit, where):
            for some in in_parts([_to_pb(entry) for entry in part], lambda entry: int(entry.ByteSize())):
                yield pb.ListAuditEntriesResponse(entries=some)

    async def VerifyAuditLog(
        self, request: pb.VerifyAuditLogRequest, context: Any
    ) -> pb.VerifyAuditLogResponse:
        """Check the whole chain."""
        found = await self._application.audit_log.verify(request.known_sequence, request.known_sha256)
        return pb.VerifyAuditLogResponse(
            intact=found.intact,
            entries=found.entries,
            head_sha256=found.head_sha256,
            broken_at=found.broken_at,
            reason=found.reason,
        )


def _to_pb(entry: Entry) -> pb.AuditEntry:
    made = pb.AuditEntry(
        sequence=entry.sequence,
        actor=entry.actor,
        action=entry.action,
        target_kind=entry.target_kind,
        target=entry.target,
        details_json=entry.details,
        previous_sha256=entry.previous_sha256,
        sha256=entry.sha256,
    )
    try:
        time = datetime.fromisoformat(entry.time)
    except ValueError:
        return made  # altered in the database: the reader misses the time, and verify says why
    if time.tzinfo is not None:
        made.time.CopyFrom(convert.timestamp(time))
    return made
