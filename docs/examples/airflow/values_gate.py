"""An Airflow DAG (TaskFlow, Airflow 3): run a study, then promote its adapter if the gate says so.

The worker is free while the run goes on: the sensor looks once a minute and is rescheduled in between. It
needs ``valign[client]`` on the workers, and a connection ``valign`` whose host is the orchestrator's URL and
whose password is an API key with the scopes ``run`` and ``promote``.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.sdk import BaseHook, PokeReturnValue, dag, task

STUDY = Path(__file__).with_name("release.yaml")


def client() -> Any:
    """A client of the orchestrator that the connection names."""
    from services.client import Client

    found = BaseHook.get_connection("valign")
    return Client(found.host, token=found.password or "", user_agent="valign-airflow")


@dag(schedule="@weekly", start_date=datetime(2026, 1, 1), catchup=False, tags=["valign"])
def values_gate() -> None:
    """Begin, wait, promote."""

    @task
    def begin(run_id: str | None = None) -> str:
        """Begin the run; a second attempt finds the one that it began, by the run id that Airflow passes."""
        with client() as valign:
            return str(valign.runs.create(STUDY.read_text(), idempotency_key=f"airflow-{run_id}").run_id)

    @task.sensor(poke_interval=60, timeout=7 * 24 * 3600, mode="reschedule")
    def ended(valign_run: str) -> PokeReturnValue:
        """True once the run has ended."""
        with client() as valign:
            run = valign.runs.get(valign_run)
        return PokeReturnValue(is_done=run.ended, xcom_value=valign_run)

    @task
    def promote(valign_run: str) -> str:
        """Promote the candidate of a run whose verdict is promote; anything else fails for good."""
        with client() as valign:
            run = valign.runs.get(valign_run)
            verdict = valign.runs.verdict(valign_run) if run.status == "succeeded" else None
            if verdict is None or verdict.decision != "promote":
                said = verdict.headline if verdict else f"run {valign_run} {run.status}"
                raise AirflowFailException(f"not promoted: {said}")
            candidate = next(iter(valign.adapters.list(run_id=valign_run, state="candidate")))
            # What was looked at is what is promoted: a stale etag is refused.
            return str(valign.adapters.promote(candidate.name, etag=candidate.etag).adapter)

    promote(ended(begin()))


values_gate()
