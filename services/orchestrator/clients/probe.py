"""A look at each service for ``GET /v1/system`` and ``valign doctor``: asks once, never waits."""

from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import NotReadyError
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.pb.generator.v1 import generator_pb2, generator_pb2_grpc
from services.common.rpc.client import call, translated
from services.orchestrator.looks import ServiceFacts

_CALL_S = 2.0
Describe = Callable[[grpc.aio.Channel], Awaitable[ServiceFacts]]


class GrpcProbe:
    """One service: its health, and what ``describe`` finds out once it is serving."""

    def __init__(
        self, name: str, target: str, channel: grpc.aio.Channel, describe: Describe | None = None
    ) -> None:
        self.name = name
        self.target = target
        self._channel = channel
        self._describe = describe

    async def look(self) -> ServiceFacts:
        """Ask once. ValignError if the service cannot be reached."""
        health = health_pb2_grpc.HealthStub(self._channel)
        answer = await call(health.Check, health_pb2.HealthCheckRequest(), timeout_s=_CALL_S)
        serving = answer.status == health_pb2.HealthCheckResponse.SERVING
        if not serving or self._describe is None:
            return ServiceFacts(serving=serving)
        try:
            with translated(self.target):
                return await self._describe(self._channel)
        except NotReadyError:
            return ServiceFacts(serving=False)


async def describe_generator(channel: grpc.aio.Channel) -> ServiceFacts:
    """Model, fingerprint, engine version and device."""
    stub = generator_pb2_grpc.GeneratorServiceStub(channel)
    reply = await stub.Describe(generator_pb2.DescribeRequest(), timeout=_CALL_S)
    return ServiceFacts(
        serving=True,
        model=reply.model,
        fingerprint=reply.fingerprint,
        version=reply.engine_version,
        device=reply.device,
        max_model_len=reply.max_model_len,
        max_lora_rank=reply.max_lora_rank,
    )


async def describe_embedder(channel: grpc.aio.Channel) -> ServiceFacts:
    """Model and fingerprint."""
    stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
    reply = await stub.Describe(embedder_pb2.DescribeRequest(), timeout=_CALL_S)
    return ServiceFacts(serving=True, model=reply.model, fingerprint=reply.fingerprint)
