"""A run's report and the evidence that it names, read for a review."""

from services.common.errors import PreconditionError
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.audit import build
from services.orchestrator.ports import RunRecord, RunStore
from services.orchestrator.report.schema import Report
from services.orchestrator.report_files import read_report_file
from services.orchestrator.review.storing import Artifacts


def read_report(runs: RunStore, artifacts: Artifacts, run: RunRecord) -> Report:
    """The newest revision. PreconditionError if it is damaged, or of a version that cannot be read."""
    return build.read_report(run.run_id, read_report_file(runs, artifacts, run, run.report_uri))


def read_evidence(artifacts: Artifacts, run_id: str, report: Report) -> Evidence:
    """PreconditionError if the run kept none, or if it is damaged."""
    place = report.evidence
    if place is None or not artifacts.exists(place.uri):
        raise PreconditionError(
            f"run {run_id} has no stored evidence: its texts cannot be reviewed; run its study anew"
        )
    try:
        return unpack_evidence(artifacts.get_bytes(place.uri, place.sha256))
    except ValueError as error:
        raise PreconditionError(f"the evidence of run {run_id} cannot be read: {error}") from error
