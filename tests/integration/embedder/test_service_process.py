"""The embedder as a process: health, rows of a real model over gRPC, SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.rpc.client import open_channel, wait_until_serving

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def start(model: str, port: int, metrics_port: int) -> "subprocess.Popen[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("VALIGN_")}
    env |= {
        "VALIGN_EMBEDDER_MODEL": model,
        "VALIGN_EMBEDDER_PORT": str(port),
        "VALIGN_EMBEDDER_METRICS_PORT": str(metrics_port),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "services.embedder"]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def service(minilm: Path) -> "Iterator[tuple[subprocess.Popen[str], int, int]]":
    port, metrics_port = free_port(), free_port()
    process = start(str(minilm), port, metrics_port)
    yield process, port, metrics_port
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=10)


async def test_service_embeds_counts_and_stops_on_sigterm(
    service: "tuple[subprocess.Popen[str], int, int]", minilm: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    process, port, metrics_port = service
    await wait_until_serving(f"127.0.0.1:{port}", 120)
    texts = [f"Principle number {i}: be {'very ' * (i % 5)}honest." for i in range(70)]
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
        info = await stub.Describe(embedder_pb2.DescribeRequest(), timeout=10)
        requests = iter([embedder_pb2.EmbedRequest(texts=texts)])
        data = b"".join([r.rows async for r in stub.Embed(requests, timeout=60)])
    rows = np.frombuffer(data, dtype="<f4").reshape(-1, info.dimension)
    expected = SentenceTransformer(str(minilm), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as page:
        assert "valign_embedder_texts_total 70.0" in page.read().decode()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_service_with_a_model_that_is_not_there_ends_with_a_clear_error() -> None:
    process = start("/no/such/folder", free_port(), 0)
    _, err = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "no such folder: /no/such/folder" in err


async def test_health_while_loading_is_not_serving(
    service: "tuple[subprocess.Popen[str], int, int]",
) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    _, port, _ = service
    async with open_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = await check(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embedder_pb2_grpc.EmbedderServiceStub(channel).Describe(
                embedder_pb2.DescribeRequest(), timeout=10
            )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
