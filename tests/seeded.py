"""A world in which deep routes find something: runs of every kind of ending, a ruler, a task."""

from services.orchestrator.audit.publish import Publisher
from services.orchestrator.ports import RunStatus
from tests.bundles import store_run
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World

RUN_IDS = ("r-measured", "r-again", "r-trained", "r-failed", "r-cancelled")
TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'


async def seed(here: World) -> tuple[str, ...]:
    """Fill a world with runs that have ended, and what they left; returns the sha256 of its assets.

    A run that is begun later ends at once, so that no watch stays open.
    """
    here.queue.ends_at_once = True
    # Drawing a report's page takes seconds, and a fuzz asks for many.
    here.application.audit = Publisher(here.store, here.artifacts, lambda report: report.run_id)
    for run_id in RUN_IDS[:2]:
        evidence = make_evidence(2, 8, 2, second=False, measure_only=True)
        made = store_run(here.store, here.artifacts, evidence, run_id)
        # The stand-in of a fingerprint is no sha256, which a ruler insists on.
        provenance = made.report.provenance.model_copy(update={"model_fingerprint": "a" * 64})
        report = made.report.model_copy(update={"provenance": provenance})
        stored = here.artifacts.put_bytes(f"runs/{run_id}/report.json", report.to_json().encode())
        here.store.update_run(run_id, report_uri=stored.uri)
        here.store.add_event(run_id, "run.succeeded")
    store_run(here.store, here.artifacts, make_evidence(1, 12, 1), "r-trained")
    for run_id, status in (("r-failed", RunStatus.FAILED), ("r-cancelled", RunStatus.CANCELLED)):
        here.store.create_run(run_id, "ended", {"seed": 1})
        here.store.change_status(run_id, status, f"run.{status.value}", {"reason": "told to"})
    ruler = await here.application.benchmarks.freeze("r-measured", "ruler")
    task = await here.application.assets.put("task", "sums", TASK)
    return ruler.asset.sha256, task.sha256
