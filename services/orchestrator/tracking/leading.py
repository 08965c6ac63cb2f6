"""The mirror's parts, put together: what the leader repeats."""

from services.common.artifacts import ArtifactStore
from services.common.errors import PreconditionError
from services.orchestrator.registry.service import Registry
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.tracking import metrics
from services.orchestrator.tracking.champions import Champions
from services.orchestrator.tracking.client import MlflowServer, client_is_installed
from services.orchestrator.tracking.mirror import Mirror
from services.orchestrator.tracking.runs import RunMirror
from services.orchestrator.tracking.versions import VersionMirror


class MirrorTask:
    """Mirrors while this process leads; each leadership begins from what the database says.

    PreconditionError: MLflow's client is not installed.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        store: SqlRunStore,
        artifacts: ArtifactStore,
        registry: Registry,
    ) -> None:
        if not client_is_installed():
            raise PreconditionError(
                "VALIGN_ORCHESTRATOR_MLFLOW_TRACKING_URI is set, and MLflow's client is not installed:"
                " pip install 'mlflow-skinny>=3.10', or unset it"
            )
        self._settings = settings
        self._store = store
        self._artifacts = artifacts
        self._registry = registry

    async def lead(self, epoch: int) -> None:
        """Repeat the mirror's step until cancelled."""
        mirror = build_mirror(self._settings, self._store.bound(epoch), self._artifacts, self._registry)
        try:
            await Ticker("mlflow", mirror.step, self._settings.mlflow_interval_s).lead(epoch)
        finally:
            # The next leader tells how far it is; what this process knew of it would stand for ever.
            metrics.LAG.set(0)


def build_mirror(
    settings: OrchestratorSettings, store: SqlRunStore, artifacts: ArtifactStore, registry: Registry
) -> Mirror:
    """A mirror over a store. Nothing is asked of MLflow yet."""
    server = MlflowServer(
        settings.mlflow_tracking_uri, settings.mlflow_registry_uri, settings.mlflow_experiment
    )
    tracking = store.platform.tracking
    back = settings.mlflow_mirror_back
    return Mirror(
        tracking,
        store.platform.outbox,
        RunMirror(server, tracking, store, artifacts, with_bundle=settings.mlflow_audit_bundle),
        VersionMirror(server, tracking, artifacts, settings.mlflow_model_prefix),
        Champions(server, tracking, registry, store.registry, mirror_back=back),
        look_often=back,
    )
