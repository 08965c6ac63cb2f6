"""How the mirror to MLflow is, for ``GET /v1/system``: read from the database, so any process can say."""

import asyncio
from datetime import datetime

from services.common.errors import NotReadyError
from services.orchestrator.looks import ServiceFacts
from services.orchestrator.store.outbox import SqlOutbox
from services.orchestrator.store.tracking import SqlTracking
from services.orchestrator.tracking.mirror import READER


class MlflowProbe:
    """Asks nothing of MLflow itself: what counts is whether mirroring works."""

    def __init__(self, target: str, tracking: SqlTracking, outbox: SqlOutbox) -> None:
        self.name = "mlflow"
        self.target = target
        self._tracking = tracking
        self._outbox = outbox

    async def look(self) -> ServiceFacts:
        """Serving if the last step worked; the version says when, and how many events are not dealt with.

        NotReadyError with the last failure, and the last success, if it did not.
        """
        state = await asyncio.to_thread(self._tracking.state)
        behind = await asyncio.to_thread(self._behind)
        if state.failure:
            raise NotReadyError(
                f"mirroring to MLflow fails since {_shown(state.success_time)}, {behind} events behind:"
                f" {state.failure}"
            )
        if state.success_time is None:
            return ServiceFacts(serving=False, version="not mirrored yet")
        return ServiceFacts(
            serving=True, version=f"{behind} events behind, last mirrored {_shown(state.success_time)}"
        )

    def _behind(self) -> int:
        return self._outbox.head() - (self._outbox.read_by(READER) or 0)


def _shown(time: datetime | None) -> str:
    return "the beginning" if time is None else time.isoformat(timespec="seconds")
