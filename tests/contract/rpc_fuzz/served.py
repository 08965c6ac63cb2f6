"""The four services' real servicers on real gRPC servers, in an event loop of their own thread."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from services.common.artifacts import ArtifactStore
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2, generator_pb2_grpc
from services.common.pb.orchestrator.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from services.common.pb.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from services.common.rpc.server import MAX_MESSAGE_BYTES, Health, build_server
from services.embedder.batcher import Batcher
from services.embedder.servicer import EmbedderServicer
from services.generator.adapters import Adapters
from services.generator.service import Generator
from services.generator.servicer import GeneratorServicer
from services.orchestrator.api import OrchestratorServicer
from services.trainer.servicer import TrainerServicer
from services.trainer.settings import TrainerSettings
from tests.fakes.fake_encoder import FakeEncoder
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.idle_trainer import IdleJobRunner
from tests.fakes.orchestrator import world
from tests.seeded import seed

Register = Callable[[grpc.aio.Server, Health], Awaitable[None]]


@asynccontextmanager
async def _generator(folder: Path, server: grpc.aio.Server, health: Health) -> AsyncIterator[None]:
    engine = FakeEngine()
    adapters = Adapters(
        engine, ArtifactStore(str(folder / "store")), folder / "cache", max_bytes=10**6, tolerance=0.01
    )
    servicer = GeneratorServicer(Generator(engine, adapters, max_in_flight=8, max_calls=8))
    generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server)
    await engine.start()
    await health.set_serving(True)
    yield
    await engine.stop()


@asynccontextmanager
async def _embedder(folder: Path, server: grpc.aio.Server, health: Health) -> AsyncIterator[None]:
    servicer = EmbedderServicer(window_texts=16)
    embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server)
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(FakeEncoder(), executor, batch_size=8, max_wait_s=0.001, max_queued_texts=500)
        batcher.start()
        servicer.serve(batcher)
        await health.set_serving(True)
        yield
        await batcher.stop()


@asynccontextmanager
async def _trainer(folder: Path, server: grpc.aio.Server, health: Health) -> AsyncIterator[None]:
    settings = TrainerSettings(state_dir=folder / "state", artifacts_uri=str(folder / "store"), device="cpu")
    runner = IdleJobRunner(settings)
    trainer_pb2_grpc.add_TrainerServiceServicer_to_server(TrainerServicer(runner), server)
    running = asyncio.create_task(runner.run(health))
    while not health.serving:
        await asyncio.sleep(0.01)
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


@asynccontextmanager
async def _orchestrator(folder: Path, server: grpc.aio.Server, health: Health) -> AsyncIterator[None]:
    with world(folder) as here:
        await seed(here)
        servicer = OrchestratorServicer(here.application)
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(servicer, server)
        await health.set_serving(True)
        yield


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its contract, how it is set up, and a call that must always be answered well."""

    descriptor: ServiceDescriptor
    set_up: Callable[[Path, grpc.aio.Server, Health], AbstractAsyncContextManager[None]]
    good: str
    """Name of a unary rpc that takes an empty message."""

    def path(self, method: str) -> str:
        """The method as HTTP/2 has it."""
        return f"/{self.descriptor.full_name}/{method}"

    def methods(self) -> list[MethodDescriptor]:
        """Its rpcs."""
        return list(self.descriptor.methods)


def _service(module: Any, name: str, set_up: Any, good: str) -> Service:
    return Service(module.DESCRIPTOR.services_by_name[name], set_up, good)


SERVICES = {
    "generator": _service(generator_pb2, "GeneratorService", _generator, "Describe"),
    "embedder": _service(embedder_pb2, "EmbedderService", _embedder, "Describe"),
    "trainer": _service(trainer_pb2, "TrainerService", _trainer, ""),
    "orchestrator": _service(orchestrator_pb2, "OrchestratorService", _orchestrator, "ListRuns"),
}


@contextmanager
def served(service: Service) -> Iterator[grpc.Channel]:
    """A channel to a server of the service, which lives until the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fuzzed", daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as folder:
        serving = _serve(service, Path(folder))
        port = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(60)
        try:
            # More than the server takes: what is too large must be refused there.
            sizes = [("grpc.max_send_message_length", 4 * MAX_MESSAGE_BYTES)]
            receive = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.enable_http_proxy", 0)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=[*sizes, *receive]) as channel:
                yield channel
        finally:
            asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


@asynccontextmanager
async def _serve(service: Service, folder: Path) -> AsyncIterator[int]:
    name = service.descriptor.full_name
    health = Health([name])
    server = build_server(service_names=[name], health=health)
    async with service.set_up(folder, server, health):
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield port
        await server.stop(1)
