"""What the orchestrator does by the hour: tells the audit log's head, clears up after dead writers."""

import asyncio

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.orchestrator.auditlog import AuditLog, log_head

log = structlog.get_logger(__name__)

EVERY_S = 3600.0
LEFTOVERS_AGE_S = 2 * 86_400.0
"""No write takes as long: what is older was left by a writer that was killed."""

_TURNS_BETWEEN_SWEEPS = 24


async def keep_house(audit_log: AuditLog, artifacts: ArtifactStore, every_s: float = EVERY_S) -> None:
    """Until cancelled: the head each hour and at the end, a sweep at the start and each day."""
    turn = 0
    try:
        while True:
            await log_head(audit_log)
            if turn % _TURNS_BETWEEN_SWEEPS == 0:
                await _sweep(artifacts)
            turn += 1
            await asyncio.sleep(every_s)
    finally:
        await log_head(audit_log)


async def _sweep(artifacts: ArtifactStore) -> None:
    try:
        removed = await asyncio.to_thread(artifacts.sweep, LEFTOVERS_AGE_S)
    except ValignError as error:
        log.warning("artifacts.not_swept", code=error.code.value, reason=error.message)
        return
    if removed:
        log.info("artifacts.swept", removed=len(removed), names=removed[:20])
