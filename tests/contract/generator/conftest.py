"""A real gRPC server and channel around the fake engine."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.common.artifacts import Artifact, ArtifactStore
from services.common.lifecycle import start_server
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.generator.adapters import Adapters
from services.generator.service import Generator
from services.generator.servicer import SERVICE_NAME, GeneratorServicer
from services.generator.settings import GeneratorSettings
from services.generator.supervisor import Supervisor
from tests.fakes.adapter_folders import write_adapter
from tests.fakes.fake_engine import FakeEngine


@dataclass
class Service:
    engine: FakeEngine
    store: ArtifactStore
    health: Health
    stub: rpc.GeneratorServiceStub
    target: str
    tmp_path: Path
    written: int = 0

    def write(self, key: str = "adapters/a", **how: Any) -> Artifact:
        self.written += 1
        return write_adapter(self.store, self.tmp_path / f"made-{self.written}", key, **how)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    engine = FakeEngine()
    store = ArtifactStore(str(tmp_path / "store"))
    adapters = Adapters(engine, store, tmp_path / "cache", max_bytes=10**6, tolerance=0.01)
    generator = Generator(engine, adapters, max_in_flight=64, max_calls=3)
    supervisor = Supervisor(engine, adapters.forget_all, backoff_s=0.05, backoff_max_s=0.1)
    health = Health([SERVICE_NAME])
    await health.set_serving(False)
    server, port = await start_server(
        GeneratorSettings(model="fake", port=0),
        service_names=[SERVICE_NAME],
        register=lambda server: rpc.add_GeneratorServiceServicer_to_server(
            GeneratorServicer(generator), server
        ),
        health=health,
    )
    await supervisor.start(health)
    target = f"127.0.0.1:{port}"
    try:
        async with open_channel(target) as channel:
            yield Service(engine, store, health, rpc.GeneratorServiceStub(channel), target, tmp_path)
    finally:
        engine.gate.set()
        await server.stop(1)
        await supervisor.stop()
