"""Tiny random models of other architectures, with and without a chat template, and a killed engine."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import ErrorCode
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.rpc.client import as_valign_error, open_channel, wait_until_serving
from tests.integration.generator.process import (
    START_TIMEOUT_S,
    GeneratorProcess,
    generate,
    item,
    running_generator,
    stub_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(
    scope="module",
    params=[("qwen2", True), ("gemma3", False)],
    ids=["qwen2-with-template", "gemma3-plain-text"],
)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GeneratorProcess]:
    arch, chat_template = request.param
    folder = tmp_path_factory.mktemp(arch)
    make = (
        "import sys; from pathlib import Path; from tests.tiny_models import make_tiny_model;"
        f"make_tiny_model({arch!r}, Path(sys.argv[1]), {chat_template})"
    )
    import subprocess
    import sys

    from tests.integration.generator.process import ROOT

    model = folder / "model"
    subprocess.run([sys.executable, "-c", make, str(model)], cwd=ROOT, check=True, timeout=200)
    with running_generator(model, folder) as running:
        yield running


async def test_architecture_generates_scores_and_swaps(service: GeneratorProcess) -> None:
    adapter = service.make_adapter("tiny", 3, 8)
    async with stub_of(service) as stub:
        described = await stub.Describe(pb.DescribeRequest(), timeout=10)
        assert described.has_chat_template == ("qwen2" in str(service.folder))
        items = [item(str(n), "Hello", temperature=1.0, seed=n, max_tokens=12) for n in range(6)]
        once, again = await generate(stub, items), await generate(stub, items)
        assert {k: v.text for k, v in once.items()} == {k: v.text for k, v in again.items()}
        loaded = await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)
        assert loaded.proof.max_relative_error <= loaded.proof.tolerance
        assert loaded.proof.mean_shift_nats > 0
        adapted = await generate(stub, items, adapter="tiny")
        assert {k: v.text for k, v in adapted.items()} != {k: v.text for k, v in once.items()}


async def _health(target: str) -> int:
    async with open_channel(target) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="valign.generator.v1.GeneratorService"), timeout=5
        )
    status: int = answer.status
    return status


async def test_killed_engine_turns_health_off_and_comes_back_empty(service: GeneratorProcess) -> None:
    adapter = service.make_adapter("again", 4, 8)
    async with stub_of(service) as stub:
        await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)
        many = [item(str(n), "Hello", temperature=1.0, seed=n, max_tokens=400) for n in range(64)]
        flight: asyncio.Task[Any] = asyncio.create_task(generate(stub, many))
        await asyncio.sleep(0.5)
        os.kill(service.engine_core_pid(), signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(flight, 30)
        assert as_valign_error(caught.value).code is ErrorCode.NOT_READY
        deadline = time.monotonic() + 10
        while await _health(service.target) == health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < deadline, "health stayed SERVING"
            await asyncio.sleep(0.1)
        await wait_until_serving(service.target, START_TIMEOUT_S)
        assert not (await stub.ListAdapters(pb.ListAdaptersRequest(), timeout=10)).adapters
        assert (await generate(stub, [item("x", "Hello")]))["x"].finish_reason
        assert not (await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)).already_loaded
