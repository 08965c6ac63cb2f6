"""A run's bundle and model card in the artifact store: made once, when somebody first asks, and kept."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from services.common.artifacts import Artifact, ArtifactStore
from services.common.errors import NotFoundError
from services.orchestrator.audit.build import read_report, write_bundle
from services.orchestrator.ports import RunStatus, RunStore
from services.orchestrator.report.html import render_html
from services.orchestrator.report.model_card import model_card
from services.orchestrator.report.schema import Report
from services.orchestrator.report_files import read_report_file

_VALUE: Final = "audit_bundle"
log = structlog.get_logger(__name__)


class Publisher:
    """Bundles and model cards of runs. Blocking: async callers use a thread."""

    def __init__(
        self, store: RunStore, artifacts: ArtifactStore, render: Callable[[Report], str] = render_html
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._render = render
        self._lock = threading.Lock()

    def bundle(self, run_id: str) -> Artifact:
        """The bundle of a run that has succeeded.

        NotFoundError: no such run, it has not succeeded, or it kept no evidence.
        PreconditionError: the bundle, or what it is made of, is damaged.
        """
        run = self._store.get_run(run_id)
        if run.status is not RunStatus.SUCCEEDED:
            raise NotFoundError(
                f"run {run_id} is {run.status.value}: an audit bundle is made of a run that has succeeded"
            )
        # One at a time: it takes as much disk as the run's embeddings.
        with self._lock:
            kept = self._store.get_value(run_id, _VALUE)
            # A report that a review has revised since has a bundle of its own.
            of = kept.pop("report_uri", run.report_uri) if kept is not None else ""
            if kept is not None and of == run.report_uri and self._artifacts.exists(kept["uri"]):
                # Before its first byte is sent: a caller must be told, not be given half.
                self._artifacts.check(kept["uri"], kept["sha256"])
                return Artifact(**kept)
            with tempfile.TemporaryDirectory(prefix="valign-bundle-") as folder:
                path = Path(folder) / "bundle.zip"
                write_bundle(path, run, self._store, self._artifacts, self._render)
                revised = len(self._store.get_value(run_id, "report_revisions") or [])
                name = f"bundle-{revised + 1}.zip" if revised else "bundle.zip"
                made = self._artifacts.put_file(f"runs/{run_id}/{name}", path)
            value = {"uri": made.uri, "sha256": made.sha256, "size_bytes": made.size_bytes}
            self._store.put_value(run_id, _VALUE, {**value, "report_uri": run.report_uri})
            log.info("bundle.made", run_id=run_id, **value)
            return made

    def parts(self, bundle: Artifact) -> Iterator[bytes]:
        """Its bytes in parts of at most 1 MiB; PreconditionError instead of the last if it is damaged."""
        return self._artifacts.read_parts(bundle.uri, bundle.sha256)

    def model_card(self, run_id: str) -> str:
        """The adapter's model card, Markdown with metadata; also written next to the report.

        NotFoundError: as ``bundle``, or the run trained nothing.
        """
        bundle = self.bundle(run_id)
        run = self._store.get_run(run_id)
        report = read_report(run_id, read_report_file(self._store, self._artifacts, run, run.report_uri))
        if report.adapter is None:
            raise NotFoundError(
                f"run {run_id} trained no adapter ({report.stop_reason}): there is no model to describe"
            )
        text = model_card(report, bundle.sha256)
        self._artifacts.put_bytes(f"runs/{run_id}/model-card.md", text.encode("utf-8"))
        return text
