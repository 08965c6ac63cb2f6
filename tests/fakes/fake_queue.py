"""A queue in memory: it remembers what it was given, and a test plays the loop."""

from collections.abc import Callable

from services.common.errors import ValignError
from services.orchestrator.ports import RunRecord, RunStatus, RunStore, StepRecord


class FakeQueue:
    """The ``RunQueue`` port. ``error`` is raised by the next ``enqueue``, once.

    ``ends_at_once``: a run that is enqueued ends as cancelled, so that nobody waits for it.
    ``plays`` is called with each run that is enqueued: a test's loop.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.enqueued: list[str] = []
        self.cancelled: list[str] = []
        self.error: ValignError | Exception | None = None
        self.not_ready: ValignError | None = None
        self.ends_at_once = False
        self.plays: Callable[[str], object] | None = None

    def check_ready(self) -> None:
        """Always ready, unless ``not_ready`` is set."""
        if self.not_ready is not None:
            raise self.not_ready

    async def enqueue(self, run_id: str) -> None:
        """Remember the run; like the real one, once."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if run_id not in self.enqueued:
            self.enqueued.append(run_id)
            if self.ends_at_once:
                await self.cancel(run_id)
            if self.plays is not None:
                self.plays(run_id)

    async def cancel(self, run_id: str) -> None:
        """End the run as cancelled at once."""
        self.cancelled.append(run_id)
        self._store.change_status(run_id, RunStatus.CANCELLED, "run.cancelled")


class FakeSteps:
    """The ``StepReader`` port: the steps that a test gives a run."""

    def __init__(self) -> None:
        self.recorded: dict[str, list[StepRecord]] = {}

    def steps(self, run: RunRecord) -> list[StepRecord]:
        """What the test said."""
        return self.recorded.get(run.run_id, [])
