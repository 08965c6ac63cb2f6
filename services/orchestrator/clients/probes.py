"""A look at each service for ``GET /v1/system``: its health, and what it says of itself.

Unlike the loop's clients these never wait for a service that is away.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2, generator_pb2_grpc
from services.common.rpc.client import call
from services.orchestrator.ports import ServiceFacts

_CALL_S = 3.0
Describe = Callable[[grpc.aio.Channel], Awaitable[ServiceFacts]]


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    """One service; ``describe`` is asked only once its health says SERVING."""

    name: str
    target: str
    channel: grpc.aio.Channel
    describe: Describe | None = None

    async def look(self) -> ServiceFacts:
        """Ask once; a ValignError if the service cannot be reached."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        answer = await call(stub.Check, health_pb2.HealthCheckRequest(), timeout_s=_CALL_S)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            return ServiceFacts(serving=False)
        return await self.describe(self.channel) if self.describe else ServiceFacts(serving=True)


def generator_probe(target: str, channel: grpc.aio.Channel) -> GrpcProbe:
    """A look at the generator."""
    return GrpcProbe("generator", target, channel, _describe_generator)


def embedder_probe(target: str, channel: grpc.aio.Channel) -> GrpcProbe:
    """A look at the embedder."""
    return GrpcProbe("embedder", target, channel, _describe_embedder)


def trainer_probe(target: str, channel: grpc.aio.Channel) -> GrpcProbe:
    """A look at the trainer, which has nothing to say but whether it serves."""
    return GrpcProbe("trainer", target, channel)


async def _describe_generator(channel: grpc.aio.Channel) -> ServiceFacts:
    stub = generator_pb2_grpc.GeneratorServiceStub(channel)
    reply = await call(stub.Describe, generator_pb2.DescribeRequest(), timeout_s=_CALL_S)
    return ServiceFacts(True, reply.model, reply.fingerprint, reply.engine_version, reply.device)


async def _describe_embedder(channel: grpc.aio.Channel) -> ServiceFacts:
    stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
    reply = await call(stub.Describe, embedder_pb2.DescribeRequest(), timeout_s=_CALL_S)
    return ServiceFacts(True, reply.model, reply.fingerprint)
