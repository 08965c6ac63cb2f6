"""A service process: health, drain on SIGTERM, errors at the start."""

import asyncio
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.pb.embedder.v1 import embedder_pb2_grpc as pb_grpc
from services.common.rpc.client import open_channel, wait_until_serving

SERVICE = textwrap.dedent(
    """
    import asyncio, sys
    from services.common.lifecycle import run_service
    from services.common.pb.embedder.v1 import embedder_pb2 as pb, embedder_pb2_grpc as pb_grpc
    from services.common.settings import ServiceSettings

    NAME = "valign.embedder.v1.EmbedderService"

    class Servicer(pb_grpc.EmbedderServiceServicer):
        async def Describe(self, request, context):
            await asyncio.sleep(1.0)
            return pb.DescribeResponse(model="finished")

    async def start(health):
        await health.set_serving(True)

    async def stop():
        print("stopped cleanly", flush=True)

    settings = ServiceSettings(port=int(sys.argv[1]), drain_timeout_s=5)
    asyncio.run(run_service(
        name="demo", settings=settings, service_names=[NAME],
        register=lambda s: pb_grpc.add_EmbedderServiceServicer_to_server(Servicer(), s),
        start=start, stop=stop,
    ))
    """
)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
async def process(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVICE,
        str(port),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await wait_until_serving(f"127.0.0.1:{port}", 20)
    yield child
    if child.returncode is None:
        child.kill()
    await child.wait()


async def test_sigterm_lets_the_call_in_flight_end(process: asyncio.subprocess.Process, port: int) -> None:
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub, health = pb_grpc.EmbedderServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        statuses = health.Watch(health_pb2.HealthCheckRequest())
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.SERVING
        pending = asyncio.ensure_future(stub.Describe(pb.DescribeRequest(), timeout=10))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert (await statuses.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        statuses.cancel()
        assert (await pending).model == "finished"
    stdout, _ = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0
    assert b"stopped cleanly" in stdout


async def test_second_process_on_the_port_says_who_is_wrong(
    process: asyncio.subprocess.Process, port: int
) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVICE,
        str(port),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}".encode() in stdout + stderr
    assert b"Traceback" not in stderr


async def test_no_server_is_unavailable(port: int) -> None:
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await pb_grpc.EmbedderServiceStub(channel).Describe(pb.DescribeRequest(), timeout=5)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
