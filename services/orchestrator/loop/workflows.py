"""DBOS's records of workflows, read from any process: which steps a run has recorded."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient

from services.orchestrator.ports import RunRecord, StepRecord
from services.orchestrator.store.control import workflow_id_of


class WorkflowSteps:
    """The ``StepReader`` port. Reads only, and connects when it is first asked."""

    def __init__(self, system_database_url: str) -> None:
        self._url = system_database_url
        self._client: DBOSClient | None = None

    def steps(self, run: RunRecord) -> list[StepRecord]:
        """In order; those of the workflow that an attempt continues, if it has not begun itself."""
        for attempt in range(run.attempt, 0, -1):
            found = self._steps(workflow_id_of(run.run_id, attempt))
            if found:
                return found
        return []

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def _steps(self, workflow_id: str) -> list[StepRecord]:
        file = self._url.partition("sqlite:///")[2]
        if file and not Path(file).exists():
            # No leader has begun yet; a client would make an empty file.
            return []
        if self._client is None:
            self._client = DBOSClient(system_database_url=self._url, lazy=True, retry_connection_errors=False)
        try:
            return as_records(self._client.list_workflow_steps(workflow_id))
        except (sa.exc.OperationalError, sa.exc.ProgrammingError) as error:
            if "no such table" in str(error) or "does not exist" in str(error):
                return []
            raise


def as_records(steps: list[Any]) -> list[StepRecord]:
    """DBOS's steps as ours. A step that failed has its error in what it recorded."""
    return [StepRecord(step["function_id"], step["function_name"], _error_code(step)) for step in steps]


def _error_code(step: Any) -> str:
    if step["error"] is not None:
        return "INTERNAL"
    output = step["output"]
    error = output.get("error") if isinstance(output, dict) else None
    return str(error["code"]) if error else ""
