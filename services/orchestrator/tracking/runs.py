"""A run, followed into MLflow: made, told as it goes, closed with its report. Each part can be repeated."""

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError, NotFoundError, ValignError
from services.orchestrator.audit.build import read_report
from services.orchestrator.audit.publish import Publisher
from services.orchestrator.ports import LeadershipLost, RunRecord, RunStatus, RunStore
from services.orchestrator.report_files import read_report_file
from services.orchestrator.store.tracking import MirroredRun, SqlTracking
from services.orchestrator.tracking import metrics, study_map
from services.orchestrator.tracking.client import MlflowAwayError, MlflowServer
from services.orchestrator.tracking.event_map import metrics_of
from services.orchestrator.tracking.report_map import report_metrics, report_tags

log = structlog.get_logger(__name__)

_EVENTS_A_READ: Final = 1000
_LEFT_OUT: Final = ""
_FOR_GOOD: Final = 2**62


class RunMirror:
    """Brings one run after the other up to date.

    Args:
        tracking: how far each run is mirrored.
        with_bundle: upload audit bundles too.
    """

    def __init__(
        self,
        server: MlflowServer,
        tracking: SqlTracking,
        runs: RunStore,
        artifacts: ArtifactStore,
        *,
        with_bundle: bool = False,
    ) -> None:
        self._server = server
        self._tracking = tracking
        self._runs = runs
        self._artifacts = artifacts
        self._publisher = Publisher(runs, artifacts) if with_bundle else None

    async def follow(self, run_id: str) -> None:
        """Tell MLflow everything of the run that it does not hold.

        Raises as ``MlflowServer`` does; what was told until then is kept.
        """
        at = await asyncio.to_thread(self._tracking.run, run_id)
        record = await asyncio.to_thread(self._runs.get_run, run_id)
        if at is None or at.mlflow_run_id == _LEFT_OUT:
            at = await self._open(record)
        if at is None:
            return
        try:
            await self._tell(at)
        except (NotFoundError, InvalidInputError):
            # A run that was deleted takes nothing, and says so in one of several ways.
            deleted = await self._deleted(at.mlflow_run_id)
            if deleted == "no":
                raise
            if deleted == "in the bin":
                await self._leave_out(run_id)
                return
            log.warning("mlflow.run_gone", run_id=run_id, mlflow_run_id=at.mlflow_run_id, then="made anew")
            again = await self._open(record)
            if again is not None:
                await self._tell(again)

    async def _open(self, record: RunRecord) -> MirroredRun | None:
        """Find the run in MLflow, or make it; None if somebody has put it into the bin there."""
        found = await asyncio.to_thread(self._server.find_run, study_map.RUN_ID_TAG, record.run_id)
        made = found is None
        if found is None:
            name, tags = study_map.run_name(record), study_map.tags(record)
            found = await asyncio.to_thread(self._server.create_run, name, record.create_time, tags)
        if found.deleted:
            await self._leave_out(record.run_id)
            return None
        opened = MirroredRun(record.run_id, found.mlflow_run_id, 0)
        try:
            await asyncio.to_thread(self._tracking.put_run, opened)
        except LeadershipLost:
            # Another process leads, and makes one of its own: there must not be two.
            if made:
                abandoned = {study_map.RUN_ID_TAG: f"{record.run_id} (abandoned)"}
                await asyncio.to_thread(self._server.abandon_run, found.mlflow_run_id, abandoned)
            raise
        log.info("mlflow.run_opened", run_id=record.run_id, mlflow_run_id=found.mlflow_run_id, made=made)
        return opened

    async def _describe(self, mlflow_run_id: str, record: RunRecord) -> None:
        """The study: as parameters, and whole. A parameter is written once: those that are there stay."""
        known = (await asyncio.to_thread(self._server.get_run, mlflow_run_id)).parameters
        new = {name: text for name, text in study_map.parameters(record.study).items() if name not in known}
        await asyncio.to_thread(self._server.log, mlflow_run_id, parameters=new)
        await asyncio.to_thread(
            self._upload, mlflow_run_id, {"study.json": lambda: _json_bytes(record.study)}
        )

    async def _tell(self, at: MirroredRun) -> None:
        last = at.last_event
        if not last:
            record = await asyncio.to_thread(self._runs.get_run, at.run_id)
            await self._describe(at.mlflow_run_id, record)
        while events := await asyncio.to_thread(self._runs.events, at.run_id, last, _EVENTS_A_READ):
            points = metrics_of(events)
            record = await asyncio.to_thread(self._runs.get_run, at.run_id)
            await asyncio.to_thread(self._server.log, at.mlflow_run_id, points, tags=study_map.tags(record))
            last = events[-1].number
            metrics.POINTS.inc(len(points))
            if not await asyncio.to_thread(self._runs.events, at.run_id, last, 1):
                # The last events count as told once all that belongs to them is there.
                await self._settle(at.mlflow_run_id, record)
            await asyncio.to_thread(self._tracking.put_run, MirroredRun(at.run_id, at.mlflow_run_id, last))

    async def _settle(self, mlflow_run_id: str, record: RunRecord) -> None:
        """The run's status, and what it leaves if it has succeeded."""
        status = study_map.MLFLOW_STATUS[record.status]
        end = record.end_time if record.status.ended else None
        try:
            if record.status is RunStatus.SUCCEEDED and record.report_uri:
                await self._report(mlflow_run_id, record)
        except MlflowAwayError:
            raise
        except ValignError:
            # A report that cannot be read is no reason to show a run that goes on.
            await asyncio.to_thread(self._server.set_status, mlflow_run_id, status, end)
            raise
        await asyncio.to_thread(self._server.set_status, mlflow_run_id, status, end)

    async def _report(self, mlflow_run_id: str, record: RunRecord) -> None:
        def read(uri: str) -> bytes:
            return read_report_file(self._runs, self._artifacts, record, uri)

        data = await asyncio.to_thread(read, record.report_uri)
        report = read_report(record.run_id, data)
        await asyncio.to_thread(
            self._server.log, mlflow_run_id, report_metrics(report), tags=report_tags(report)
        )
        files: dict[str, Callable[[], bytes]] = {
            "report.json": lambda: data,
            "report.html": lambda: read(record.report_html_uri),
        }
        card = self._artifacts.uri(f"runs/{record.run_id}/model-card.md")
        if await asyncio.to_thread(self._artifacts.exists, card):
            files["model-card.md"] = lambda: self._artifacts.get_bytes(card)
        await asyncio.to_thread(self._upload, mlflow_run_id, files)
        if self._publisher is not None:
            await asyncio.to_thread(self._upload_bundle, self._publisher, mlflow_run_id, record.run_id)

    def _upload(self, mlflow_run_id: str, files: dict[str, Callable[[], bytes]]) -> None:
        with tempfile.TemporaryDirectory(prefix="valign-mlflow-") as folder:
            for name, read in files.items():
                (Path(folder) / name).write_bytes(read())
            self._server.upload(mlflow_run_id, Path(folder))

    def _upload_bundle(self, publisher: Publisher, mlflow_run_id: str, run_id: str) -> None:
        try:
            bundle = publisher.bundle(run_id)
        except NotFoundError as error:
            # A run of a version that kept no evidence.
            log.warning("mlflow.no_bundle", run_id=run_id, reason=error.message)
            return
        with tempfile.TemporaryDirectory(prefix="valign-mlflow-") as folder:
            with (Path(folder) / "audit-bundle.zip").open("xb") as file:
                file.writelines(publisher.parts(bundle))
            self._server.upload(mlflow_run_id, Path(folder))

    async def _deleted(self, mlflow_run_id: str) -> str:
        try:
            found = await asyncio.to_thread(self._server.get_run, mlflow_run_id)
        except NotFoundError:
            return "gone"
        return "in the bin" if found.deleted else "no"

    async def _leave_out(self, run_id: str) -> None:
        """Somebody has deleted it in MLflow: it stays deleted, whatever becomes of the run here."""
        log.warning("mlflow.run_deleted", run_id=run_id, then="it is mirrored no more")
        await asyncio.to_thread(self._tracking.put_run, MirroredRun(run_id, _LEFT_OUT, _FOR_GOOD))


def _json_bytes(study: object) -> bytes:
    return json.dumps(study, ensure_ascii=False, indent=2, sort_keys=True).encode("utf-8", "replace")
