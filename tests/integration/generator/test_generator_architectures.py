"""Tiny random models of other architectures, with and without a chat template, whole, in copies and shared
by workers; and an engine of which a process is killed."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

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

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Started:
    """A generator, how it was started, and the process of its engine that is killed."""

    service: GeneratorProcess
    chat_template: bool
    copies: int
    victim: str


@pytest.fixture(
    scope="module",
    params=[
        ("qwen2", True, {"data_parallel_size": "2"}, "EngineCore_DP1"),
        ("gemma3", False, {}, "EngineCore"),
        ("llama", True, {"tensor_parallel_size": "2"}, "Worker_TP1"),
    ],
    ids=["qwen2-with-template-two-copies", "gemma3-plain-text", "llama-shared-by-two"],
)
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    arch, chat_template, settings, victim = request.param
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
    with running_generator(model, folder, **settings) as running:
        yield Started(running, chat_template, int(settings.get("data_parallel_size", 1)), victim)


@pytest.fixture
def service(started: Started) -> GeneratorProcess:
    return started.service


async def test_architecture_generates_scores_and_swaps(started: Started, service: GeneratorProcess) -> None:
    adapter = service.make_adapter("tiny", 3, 8)
    async with stub_of(service) as stub:
        described = await stub.Describe(pb.DescribeRequest(), timeout=10)
        assert described.has_chat_template == started.chat_template
        items = [item(str(n), "Hello", temperature=1.0, seed=n, max_tokens=12) for n in range(6)]
        once, again = await generate(stub, items), await generate(stub, items)
        assert {k: v.text for k, v in once.items()} == {k: v.text for k, v in again.items()}
        loaded = await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)
        assert loaded.proof.max_relative_error <= loaded.proof.tolerance
        assert loaded.proof.mean_shift_nats > 0
        adapted = await generate(stub, items, adapter="tiny")
        assert {k: v.text for k, v in adapted.items()} != {k: v.text for k, v in once.items()}
        served = [await _served(service, copy) for copy in range(started.copies)]
        # Which copy answers changes nothing: each holds the adapter.
        many = [item(str(n), "Hello", max_tokens=12) for n in range(16)]
        assert len({answer.text for answer in (await generate(stub, many, adapter="tiny")).values()}) == 1
        gained = [await _served(service, copy) - served[copy] for copy in range(started.copies)]
        assert sum(gained) == 16
        assert all(gained), gained


async def _served(service: GeneratorProcess, copy: int) -> float:
    """Requests that a copy of the model has ended, as vLLM counts them."""
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=10)).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "vllm:request_success_total" and sample.labels["engine"] == str(copy)
    )


async def _health(target: str) -> int:
    async with open_channel(target) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="valign.generator.v1.GeneratorService"), timeout=5
        )
    status: int = answer.status
    return status


async def test_killed_engine_turns_health_off_and_comes_back_empty(
    started: Started, service: GeneratorProcess
) -> None:
    adapter = service.make_adapter("again", 4, 8)
    async with stub_of(service) as stub:
        await stub.LoadAdapter(pb.LoadAdapterRequest(**adapter), timeout=120)
        many = [item(str(n), "Hello", temperature=1.0, seed=n, max_tokens=400) for n in range(64)]
        flight: asyncio.Task[Any] = asyncio.create_task(generate(stub, many))
        await asyncio.sleep(0.5)
        os.kill(service.engine_core_pid(started.victim), signal.SIGKILL)
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
