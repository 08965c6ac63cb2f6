"""Several fake embedders, each behind a real gRPC server of its own, which a test kills and starts again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from services.common.pb.embedder.v1 import embedder_pb2_grpc
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health, build_server
from services.orchestrator.clients.discovery import Discovery
from services.orchestrator.clients.embedder_pool import EmbedderPool
from tests.fakes.fake_embedder import FakeEmbedder


@dataclass
class FakeReplica:
    """A fake and its server; ``target`` stays the same when it is started again."""

    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    port: int = 0
    server: grpc.aio.Server | None = None

    @property
    def target(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve."""
        health = Health(())
        await health.set_serving(True)
        self.server = build_server(service_names=(), health=health, reflection_enabled=False)
        embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(self.embedder, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def kill(self) -> None:
        """Cut every call."""
        if self.server is not None:
            await self.server.stop(None)
            self.server = None


@asynccontextmanager
async def fake_replicas(count: int) -> AsyncIterator[list[FakeReplica]]:
    """That many, served while the block runs."""
    replicas = [FakeReplica() for _ in range(count)]
    for replica in replicas:
        await replica.start()
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.kill()


@asynccontextmanager
async def pool_of(*replicas: FakeReplica) -> AsyncIterator[EmbedderPool]:
    """A pool with the written addresses of these."""
    pool = EmbedderPool(
        "embedder",
        Discovery(",".join(replica.target for replica in replicas)),
        lambda address: open_channel(address.target),
    )
    try:
        yield pool
    finally:
        await pool.aclose()
