"""The generator's process with its HTTP face: sampled traffic over gRPC, and an orderly end on SIGTERM."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from services.common.errors import ErrorCode
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.client import as_valign_error, open_channel, wait_until_serving
from tests.contract.generator.conftest import Service
from tests.fakes.servers import free_port

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Process:
    process: asyncio.subprocess.Process
    stub: rpc.GeneratorServiceStub
    http: httpx.AsyncClient


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    port, http_port = free_port(), free_port()
    environment = {
        **os.environ,
        "VALIGN_GENERATOR_MODEL": "fake-model",
        "VALIGN_GENERATOR_PORT": str(port),
        "VALIGN_GENERATOR_HTTP_PORT": str(http_port),
        "VALIGN_GENERATOR_METRICS_PORT": "0",
        "VALIGN_GENERATOR_ARTIFACTS": str(tmp_path / "store"),
        "VALIGN_GENERATOR_ALLOW_TRAFFIC_SAMPLING": "true",
        "VALIGN_GENERATOR_DRAIN_TIMEOUT_S": "20",
    }
    with (tmp_path / "generator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fakes.serve_generator",
            "--paid", str(tmp_path / "paid"), "--latency-s", "0.1",
            cwd=ROOT, env=environment, stderr=log,
        )  # fmt: skip
    try:
        await wait_until_serving(f"127.0.0.1:{port}", 30)
        async with (
            open_channel(f"127.0.0.1:{port}") as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}", timeout=30) as http,
        ):
            yield Process(process, rpc.GeneratorServiceStub(channel), http)
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def test_sampled_traffic_and_sigterm_that_cuts_no_stream(process: Process) -> None:
    await process.stub.SetRoute(pb.SetRouteRequest(route=pb.Route(name="valign", version=1)), timeout=5)
    body = {"model": "valign", "messages": [{"role": "user", "content": "a b c d e f g h"}], "stream": True}
    sampling = process.stub.SampleTraffic(pb.SampleTrafficRequest(route="valign", rate=1.0), timeout=30)
    reading = asyncio.ensure_future(sampling.read())
    await asyncio.sleep(0.2)
    await process.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "r1"})
    seen = await reading
    assert (seen.id, seen.text.strip(), seen.served, seen.dropped) == ("r1", "h g f e d c b a", 1, 0)
    assert [(turn.role, turn.content) for turn in seen.messages] == [("user", "a b c d e f g h")]
    sampling.cancel()

    streaming = asyncio.create_task(process.http.post("/v1/chat/completions", json=body))
    await asyncio.sleep(0.3)
    process.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.2)
    refused = await process.http.post("/v1/chat/completions", json=body)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    answer = await streaming
    assert answer.text.endswith("data: [DONE]\n\n")
    assert await asyncio.wait_for(process.process.wait(), 20) == 0


async def refused(call: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    error = as_valign_error(caught.value)
    return error.code, error.message


async def test_sample_traffic_wrong_orders_are_refused(process: Process) -> None:
    for fields in ({"route": "valign"}, {"route": "valign", "rate": 1.5}, {"rate": 1.0}):
        call = process.stub.SampleTraffic(pb.SampleTrafficRequest(**fields), timeout=5)
        assert (await refused(call))[0] is ErrorCode.INVALID_INPUT


async def test_sample_traffic_that_the_settings_do_not_allow_is_a_precondition(service: Service) -> None:
    call = service.stub.SampleTraffic(pb.SampleTrafficRequest(route="valign", rate=1.0), timeout=5)
    code, message = await refused(call)
    assert code is ErrorCode.PRECONDITION
    assert "VALIGN_GENERATOR_ALLOW_TRAFFIC_SAMPLING" in message
