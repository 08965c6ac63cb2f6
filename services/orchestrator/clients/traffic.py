"""What one generator replica serves to people, as it tells it over gRPC."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import grpc

from services.common.errors import NotReadyError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import translated
from services.orchestrator.monitor.live.records import Exchange

MAX_STREAM_S = 3600.0
"""A stream is begun anew after this, as every call has a deadline."""


class GrpcTraffic:
    """The ``Traffic`` port.

    Args:
        target: host:port, for people.
        channel: a channel to it, which stays open.
    """

    def __init__(self, target: str, channel: grpc.aio.Channel) -> None:
        self.target = target
        self._stub = pb_grpc.GeneratorServiceStub(channel)

    async def exchanges(self, route: str, rate: float) -> AsyncGenerator[Exchange, None]:
        """Each as it ends. PreconditionError if the generator's settings do not allow it."""
        request = pb.SampleTrafficRequest(route=route, rate=rate)
        with translated(self.target):
            call = self._stub.SampleTraffic(request, timeout=MAX_STREAM_S)
            try:
                async for reply in call:
                    yield _exchange(reply)
            finally:
                call.cancel()
        raise NotReadyError(f"the generator at {self.target} ended the stream")


def _exchange(reply: pb.SampleTrafficResponse) -> Exchange:
    asked = [turn.content for turn in reply.messages if turn.role == "user"]
    return Exchange(
        id=reply.id,
        request=asked[-1] if asked else (reply.messages[-1].content if reply.messages else ""),
        answer=reply.text,
        adapter=reply.adapter,
        end_time=datetime.fromtimestamp(reply.end_time_ms / 1000, UTC),
        dropped=reply.dropped,
    )
