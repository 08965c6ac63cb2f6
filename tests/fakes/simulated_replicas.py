"""Many generators in one process of their own, which cost next to nothing each: for benchmarks alone.

``python -m tests.fakes.simulated_replicas COUNT``: prints the addresses as one JSON list and serves until its
standard input ends. What they say follows from the item's id.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import structlog

from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.server import Health, build_server
from tests.fakes.fake_generator import FINGERPRINT

TEXT = "Systems shall keep a record of each decision, so that whoever is concerned can read it, case {}."


class Simulated(pb_grpc.GeneratorServiceServicer):
    """Answers as fast as it is asked."""

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        return pb.DescribeResponse(
            model="simulated", fingerprint=FINGERPRINT, max_model_len=2048, device="cpu"
        )

    async def ListAdapters(self, request: Any, context: Any) -> pb.ListAdaptersResponse:
        return pb.ListAdaptersResponse()

    async def Generate(
        self, requests: AsyncIterator[pb.GenerateRequest], context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        async for request in requests:
            for item in request.items:
                yield pb.GenerateResponse(
                    id=item.id,
                    text=TEXT.format(item.id),
                    finish_reason="stop",
                    prompt_tokens=60,
                    completion_tokens=24,
                )


async def main(count: int) -> None:
    """Serve until the other side has gone."""
    # Nobody reads a log here: the pipe would be full one day, and everything stand still.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    health = Health(())
    await health.set_serving(True)
    targets, servers = [], []
    for _ in range(count):
        server = build_server(service_names=(), health=health, reflection_enabled=False)
        pb_grpc.add_GeneratorServiceServicer_to_server(Simulated(), server)
        targets.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    print(json.dumps(targets), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        await server.stop(None)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
