"""What watching costs: a call, a request, and the engine's own statistics.

    python -m bench.observability [--calls N] [--engine]

A call: a unary gRPC call against a server in this process, as it is without our channel; with it and tracing
off; with it and tracing on towards a collector that is not there. A request: what the meter and one span add
to it. ``--engine`` generates with vLLM's statistics on and off, an engine each. JSON to stdout.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from bench.result import finish
from services.common import tracing, usage
from services.common.logs import configure_logging
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.pb.embedder.v1 import embedder_pb2_grpc as rpc
from services.common.process import ProcessTree
from services.common.rpc.observed import ObservedChannel
from services.common.rpc.server import Health, build_server
from services.common.settings import ServiceSettings
from services.generator.adapters import Lease
from services.generator.spans import RequestSpans
from services.generator.types import Completion, GenerateItem, Prompt, Sampling

NAME = "valign.embedder.v1.EmbedderService"
# Microseconds that one request may pay for its span and its share of the meter: 1 % of 20 ms.
TARGET_US = 200.0


class _Servicer(rpc.EmbedderServiceServicer):
    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:  # noqa: N802
        return pb.DescribeResponse(model="m")


class _Engine:
    class info:  # noqa: N801 - stands for an engine's info
        model = "m"


async def _us(call: Callable[[], Awaitable[Any]], count: int) -> float:
    """Median microseconds over ten rounds."""
    rounds = []
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(count // 10):
            await call()
        rounds.append((time.perf_counter() - began) / (count // 10) * 1e6)
    return statistics.median(rounds)


async def _calls(count: int) -> dict[str, float]:
    health = Health((NAME,))
    server = build_server(service_names=(NAME,), health=health)
    rpc.add_EmbedderServiceServicer_to_server(_Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as plain:
        for name, channel in (("plain", plain), ("observed", ObservedChannel(plain)), ("again", plain)):
            stub = rpc.EmbedderServiceStub(channel)

            async def call(stub: Any = stub) -> None:
                await stub.Describe(pb.DescribeRequest())

            await _us(call, 200)
            found[name] = await _us(call, count)
    await server.stop(None)
    return found


def _request() -> Callable[[], Awaitable[None]]:
    meter = usage.Meter(ProcessTree().cpu_s, lambda: 0, lambda cpu_s, gpu_s: None)
    spans = RequestSpans(_Engine(), content=False)  # type: ignore[arg-type]
    item = GenerateItem(Prompt(({"role": "user", "content": "x"},)), Sampling(1.0, 1.0, 8, 1))
    account, lease, done = usage.Usage(), Lease(), Completion("x", "stop", 1, 1)

    async def one() -> None:
        with meter.working_for(account), spans.chat(item, lease) as told:
            told(done)

    return one


async def _tokens_per_s(model: Path, *, statistics_on: bool) -> float:
    from bench.generator import serving

    with tempfile.TemporaryDirectory() as folder:
        async with serving(model, Path(folder), engine_metrics=statistics_on) as (engine, _, _):
            rates = []
            for turn in range(4):
                prompts = [
                    Prompt(({"role": "user", "content": f"Tell me about {turn} {number}."},))
                    for number in range(16)
                ]
                began = time.perf_counter()
                ended = await asyncio.gather(
                    *(engine.generate(prompt, Sampling(1.0, 1.0, 48, 1), None) for prompt in prompts)
                )
                rates.append(sum(one.completion_tokens for one in ended) / (time.perf_counter() - began))
            # The first turn warms up.
            return statistics.median(rates[1:])


async def run(count: int) -> dict[str, Any]:
    """All but the engine: without tracing, then with it."""
    off, request_off = await _calls(count), await _us(_request(), count)
    settings = ServiceSettings(port=0, tracing_endpoint="http://127.0.0.1:9")
    started = tracing.start_tracing("bench", settings)
    on, request_on = await _calls(count), await _us(_request(), count)
    started.close()
    return {
        "call_us": {
            "without_channel": off["plain"],
            "tracing_off": off["observed"],
            "tracing_on": on["observed"],
        },
        "request_us": {"tracing_off": request_off, "tracing_on": request_on},
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--engine", action="store_true", help="with a real engine, twice: minutes")
    args = parser.parse_args()
    configure_logging("bench", "error")
    found = asyncio.run(run(args.calls))
    if args.engine:
        from bench.generator import DEFAULT_MODEL

        on = asyncio.run(_tokens_per_s(DEFAULT_MODEL, statistics_on=True))
        off = asyncio.run(_tokens_per_s(DEFAULT_MODEL, statistics_on=False))
        found["engine_tokens_per_s"] = {"statistics_on": on, "statistics_off": off, "ratio": on / off}
    request_us = found["request_us"]["tracing_on"]
    return finish(
        {
            "name": "observability",
            "target": {"request_us": TARGET_US},
            "ok": request_us <= TARGET_US,
            **found,
        }
    )


if __name__ == "__main__":
    raise SystemExit(main())
