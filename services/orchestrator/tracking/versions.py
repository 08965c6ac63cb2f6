"""Adapters as versions of a registered model: made once one is a candidate, and told what becomes of it."""

import asyncio
import tempfile
from pathlib import Path

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import NotFoundError
from services.orchestrator.loop.shown import shown_model
from services.orchestrator.registry.records import AdapterRecord, AdapterState
from services.orchestrator.store.tracking import DueAdapter, MirroredVersion, SqlTracking
from services.orchestrator.tracking import names, study_map
from services.orchestrator.tracking.client import FoundVersion, MlflowServer

log = structlog.get_logger(__name__)

ADAPTER_TAG = "valign.adapter"
REFUSED_TAG = "valign.refused"


def version_tags(adapter: AdapterRecord) -> dict[str, str]:
    """What identifies an adapter, and where it stands."""
    found = {
        ADAPTER_TAG: adapter.name,
        "valign.sha256": adapter.sha256,
        study_map.RUN_ID_TAG: adapter.run_id,
        "valign.base_model": shown_model(adapter.base_model),
        "valign.base_fingerprint": adapter.base_fingerprint,
        "valign.rank": str(adapter.rank),
        "valign.arm": adapter.arm,
        "valign.iteration": str(adapter.iteration),
        "valign.uri": adapter.uri,
        "valign.state": adapter.state.value,
        "valign.reason": adapter.reason,
        "valign.pruned": "" if adapter.prune_time is None else adapter.prune_time.isoformat(),
    }
    if adapter.state is AdapterState.PROMOTED:
        # What an earlier attempt was refused for holds no more.
        found[REFUSED_TAG] = ""
    return {name: names.tag(text) for name, text in found.items()}


def description_of(adapter: AdapterRecord) -> str:
    """What MLflow's page of the version says first."""
    gone = "" if adapter.prune_time is None else " Its files were removed."
    return names.tag(f"{adapter.name}: {adapter.state.value}. {adapter.reason}{gone}")


class VersionMirror:
    """Brings one adapter after the other up to date.

    Args:
        prefix: what the names of models begin with.
    """

    def __init__(
        self, server: MlflowServer, tracking: SqlTracking, artifacts: ArtifactStore, prefix: str
    ) -> None:
        self._server = server
        self._tracking = tracking
        self._artifacts = artifacts
        self._prefix = prefix

    def model_of(self, adapter: AdapterRecord) -> str:
        """The registered model that an adapter is a version of."""
        return names.model_name(self._prefix, shown_model(adapter.base_model))

    async def follow(self, due: DueAdapter) -> None:
        """Make the version if there is none, and tell it the adapter's state. Raises as the server does."""
        adapter = due.adapter
        known = {one.adapter: one for one in await asyncio.to_thread(self._tracking.versions)}
        at = known.get(adapter.name)
        if at is None:
            if adapter.prune_time is not None:
                return
            at = await self._make(adapter)
        try:
            await asyncio.to_thread(
                self._server.tell_version,
                at.model,
                at.version,
                version_tags(adapter),
                description_of(adapter),
            )
        except NotFoundError as error:
            # Deleted in MLflow. What is a candidate or serves a route is made again by the next step.
            log.warning("mlflow.version_gone", adapter=adapter.name, reason=error.message)
            await asyncio.to_thread(self._tracking.forget_version, at.model, at.version)
            return
        told = MirroredVersion(adapter.name, at.model, at.version, at.created_ms, due.change)
        await asyncio.to_thread(self._tracking.put_version, told)

    async def _make(self, adapter: AdapterRecord) -> MirroredVersion:
        model = self.model_of(adapter)
        said = f"Adapters that valign has trained for {shown_model(adapter.base_model)}."
        await asyncio.to_thread(self._server.create_model, model, said)
        run_id = await asyncio.to_thread(self._run_for, adapter)
        source = await asyncio.to_thread(self._source, adapter, run_id)
        found = await asyncio.to_thread(self._find, adapter, model, source)
        if found is None:
            tags, description = version_tags(adapter), description_of(adapter)
            found = await asyncio.to_thread(
                self._server.create_version, model, source, run_id, tags, description
            )
            log.info("mlflow.version_made", adapter=adapter.name, model=model, version=found.version)
        made = MirroredVersion(adapter.name, model, found.version, found.created_ms, 0)
        await asyncio.to_thread(self._tracking.put_version, made)
        return made

    def _run_for(self, adapter: AdapterRecord) -> str:
        """The MLflow run that the version belongs to: its run's; one of its own if that is not mirrored."""
        mirrored = self._tracking.run(adapter.run_id)
        if mirrored is not None and mirrored.mlflow_run_id and self._takes(mirrored.mlflow_run_id):
            return mirrored.mlflow_run_id
        found = self._server.find_run(ADAPTER_TAG, adapter.name)
        if found is None or found.deleted:
            tags = {ADAPTER_TAG: adapter.name, "valign.run_id_of_adapter": adapter.run_id}
            found = self._server.create_run(adapter.name, adapter.create_time, tags)
            self._server.set_status(found.mlflow_run_id, "FINISHED", adapter.create_time)
        return found.mlflow_run_id

    def _takes(self, mlflow_run_id: str) -> bool:
        """Whether it is there, and not in the bin."""
        try:
            return not self._server.get_run(mlflow_run_id).deleted
        except NotFoundError:
            return False

    def _source(self, adapter: AdapterRecord, mlflow_run_id: str) -> str:
        """Where the version's files lie. MLflow takes no file of a disk: such an adapter is uploaded."""
        if not adapter.uri.startswith("file:"):
            return adapter.uri
        place = f"adapters/{adapter.name}"
        with tempfile.TemporaryDirectory(prefix="valign-mlflow-") as folder:
            files = Path(folder) / "adapter"
            self._artifacts.fetch_folder(adapter.uri, adapter.sha256, files)
            self._server.upload(mlflow_run_id, files, place)
        return self._server.artifact_uri(mlflow_run_id, place)

    def _find(self, adapter: AdapterRecord, model: str, source: str) -> FoundVersion | None:
        """What an attempt before has made. A stranger can write our tags, but not to our artifacts: a version
        with another source is none of ours."""
        found = self._server.find_version(model, ADAPTER_TAG, adapter.name)
        ours = [one for one in found if one.source == source]
        return min(ours, key=lambda one: one.created_ms) if ours else None
