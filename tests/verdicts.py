"""A loop that ends every run at once with a verdict: a real report, its decision as the test wants it."""

import json
from functools import cache
from typing import Any

from services.orchestrator.ports import RunStatus
from tests.bundles import completions_of, report_of
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World


def play(here: World, decision: str) -> None:
    """From now on every run of the world ends at once: "promote", "hold", "reject", "none" or "fail"."""

    def end(run_id: str) -> None:
        here.store.change_status(run_id, RunStatus.RUNNING, "run.started", {"name": "x"})
        here.store.add_event(run_id, "stage.ended", {"stage": "verdict", "duration_s": 0.1})
        if decision == "fail":
            here.store.change_status(
                run_id, RunStatus.FAILED, "run.failed", {}, error_code="NOT_READY", error_message="no engine"
            )
            return
        stored = here.artifacts.put_bytes(
            f"runs/{run_id}/report.json", json.dumps(_report(run_id, decision)).encode()
        )
        told = {} if decision == "none" else {"decision": decision}
        here.store.change_status(run_id, RunStatus.SUCCEEDED, "run.succeeded", told, report_uri=stored.uri)

    here.queue.plays = end


def _report(run_id: str, decision: str) -> dict[str, Any]:
    report: dict[str, Any] = {**json.loads(_written()), "run_id": run_id}
    verdict = report["analysis"]["verdict"]
    if decision == "none":
        report["analysis"]["verdict"] = None
    else:
        verdict["decision"] = decision
    return report


@cache
def _written() -> str:
    evidence = make_evidence(1, 12, 1)
    record = {"uri": "file:///evidence", "sha256": "0" * 64}
    return report_of("r-1", evidence, completions_of(evidence), record).to_json()
