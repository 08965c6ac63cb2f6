"""Ports of who works off the store: how it hears of a change, and how its recorded steps are read."""

from typing import Protocol

from services.orchestrator.records import RunRecord, StepRecord


class RunQueue(Protocol):
    """How the loop hears of a change of the store at once, where it runs in this process.

    The store itself is the queue: whoever leads looks at it, whether it was told or not.
    """

    def check_ready(self) -> None:
        """NotReadyError while this process starts or stops."""
        ...

    async def enqueue(self, run_id: str) -> None:
        """The store has a run that waits, or one whose requests have changed."""
        ...

    async def cancel(self, run_id: str) -> None:
        """The store has a request to cancel this run."""
        ...


class StepReader(Protocol):
    """The steps that runs have recorded."""

    def steps(self, run: RunRecord) -> list[StepRecord]:
        """In order; those of the workflow that an attempt continues, if it has not begun itself."""
        ...
