"""A run's context on a real generator alone, for the probes."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from services.common.artifacts import ArtifactStore, sha256_bytes
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.trainer import GrpcTrainer
from services.orchestrator.loop.context import RunContext, Services
from services.orchestrator.loop.journal import Journal
from services.orchestrator.study import Study, resolve
from tests.fakes.orchestrator import migrated_store
from tests.fakes.studies import study_json


@contextlib.contextmanager
def probing_context(folder: Path, channel: grpc.aio.Channel, task: bytes) -> Iterator[RunContext]:
    """A run of a small study that names the task; only the generator answers."""
    artifacts = ArtifactStore(str(folder / "artifacts"))
    digest = sha256_bytes(task)
    artifacts.put_bytes(f"assets/{digest}", task)
    guards: dict[str, Any] = {
        "tasks": [{"name": "task-0", "sha256": digest}],
        "general_max_new_tokens": 24,
    }
    study = study_json(guards=guards)
    store, _ = migrated_store(folder)
    store.create_run("r-1", study["name"], study)
    patience = Patience(wait_s=60.0, call_s=30.0)
    yield RunContext(
        run_id="r-1",
        resolved=resolve(Study.model_validate(study)),
        services=Services(
            GrpcGenerator(channel, patience),
            GrpcEmbedder(channel, patience),
            GrpcTrainer(channel, artifacts, patience),
        ),
        store=store,
        artifacts=artifacts,
        journal=Journal(store, "r-1"),
        cancelled=asyncio.Event(),
    )
    store.close()
