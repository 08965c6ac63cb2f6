"""What is built where MLflow is set, and where it is not."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.embedders_build import Embedders
from services.orchestrator.generators_build import Generators
from services.orchestrator.platform_build import build_platform
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.tracking.leading import MirrorTask
from services.orchestrator.tracking.metrics import LAG
from tests.fakes.orchestrator import world


async def test_platform_without_a_tracking_uri_mirrors_nothing(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        settings = OrchestratorSettings()
        embedders, generators = Embedders(settings, made.store, None), Generators(settings, None)
        built, _ = build_platform(
            settings, made.store, made.artifacts, made.application.registry, generators, embedders
        )
        await generators.aclose()
    assert built.probes == ()


def test_task_without_mlflows_client_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    settings = OrchestratorSettings(mlflow_tracking_uri="http://127.0.0.1:1")
    with (
        world(tmp_path) as made,
        pytest.raises(PreconditionError, match="pip install 'mlflow-skinny"),
    ):
        MirrorTask(settings, made.store, made.artifacts, made.application.registry)


async def test_task_that_no_longer_leads_tells_of_no_lag(tmp_path: Path) -> None:
    settings = OrchestratorSettings(mlflow_tracking_uri="http://127.0.0.1:1")
    with world(tmp_path) as made:
        task = MirrorTask(settings, made.store, made.artifacts, made.application.registry)
        leading = asyncio.create_task(task.lead(1))
        await asyncio.sleep(0)
        LAG.set(7)
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading
    assert LAG._value.get() == 0
