"""The three fakes behind one real gRPC server: in a test's own process, or as a process of its own.

As a process: ``python -m tests.fakes.fake_services STATE_DIR latency_s step_s [artifacts]``; with
an artifact store the trainer publishes a folder there for each adapter. It writes its
port to ``STATE_DIR/port``, each prompt that it answers to ``asked.jsonl`` and the trainer's counts to
``trainer.json``.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from services.common.artifacts import ArtifactStore
from services.common.pb.embedder.v1 import embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2_grpc
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.rpc.server import Health, build_server
from tests.fakes.fake_embedder import FakeEmbedder
from tests.fakes.fake_generator import FakeGenerator
from tests.fakes.fake_trainer import FakeTrainer


@dataclass
class FakeServices:
    """The fakes and where they are served."""

    generator: FakeGenerator = field(default_factory=FakeGenerator)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    trainer: FakeTrainer = field(default_factory=FakeTrainer)
    target: str = ""
    server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> None:
        """Serve all three on one port of this machine."""
        health = Health(())
        await health.set_serving(True)
        self.server = build_server(service_names=(), health=health, reflection_enabled=False)
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self.generator, self.server)
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(self.embedder, self.server)
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server(self.trainer, self.server)
        self.target = f"127.0.0.1:{self.server.add_insecure_port(f'127.0.0.1:{port}')}"
        await self.server.start()

    async def stop(self) -> None:
        """Cut every call and stop."""
        if self.server is not None:
            await self.server.stop(None)
        # A process that is gone does nothing more: a load that outlives its caller does not outlive it.
        trainings = (job.task for job in self.trainer.jobs.values() if job.task)
        tasks: list[asyncio.Task[Any]] = [*trainings, *self.generator.loading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def fake_services() -> AsyncIterator[FakeServices]:
    """The fakes, served while the block runs."""
    services = FakeServices()
    await services.start()
    try:
        yield services
    finally:
        await services.stop()


async def _main(folder: Path, latency_s: float, step_s: float, artifacts: str = "") -> None:
    services = FakeServices()
    services.generator.latency_s = latency_s
    services.generator.concurrency = 2
    services.generator.asked_file = folder / "asked.jsonl"
    services.trainer.step_s, services.trainer.steps = step_s, 10
    services.trainer.artifacts = ArtifactStore(artifacts) if artifacts else None
    await services.start()
    (folder / "port").write_text(services.target.rsplit(":", 1)[1])
    while True:
        counts = {"starts": services.trainer.starts, "attached": services.trainer.attached}
        counts["jobs"] = len(services.trainer.jobs)
        (folder / "trainer.tmp").write_text(json.dumps(counts))
        (folder / "trainer.tmp").rename(folder / "trainer.json")
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
