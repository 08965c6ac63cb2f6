"""The generator as a process of its own, with real vLLM."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from services.common.artifacts import ArtifactStore
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.client import open_channel, wait_until_serving
from tests.fakes.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 240.0


@dataclass
class GeneratorProcess:
    process: subprocess.Popen[bytes]
    target: str
    http: str
    model: Path
    folder: Path
    metrics_port: int = 0

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(str(self.folder / "store"))

    def log_tail(self) -> str:
        return (self.folder / "generator.log").read_text(errors="replace")[-3000:]

    def make_adapter(self, name: str, *numbers: int) -> dict[str, str]:
        """A real PEFT adapter for this model; numbers are seed and rank.

        Modules share the store: a name that is taken by other weights is refused.
        """
        made = subprocess.run(
            [
                sys.executable, "-m", "tests.integration.generator.make_adapter",
                str(self.model), str(self.folder / "store"), name, *map(str, numbers),
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-3000:]
        result: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
        return result

    def engine_core_pid(self, title: str = "EngineCore") -> int:
        """The process that holds the model, or the one of the engine's that bears this title."""
        return engine_core_pid(self.process.pid, title)


def engine_core_pid(generator: int, title: str = "EngineCore") -> int:
    """The process that holds a generator's model, or the one of its engine's that bears this title."""
    for child in psutil.Process(generator).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if title in " ".join(child.cmdline()):
                return child.pid
    raise AssertionError(f"no process of the engine is called {title}")


@contextlib.contextmanager
def running_generator(
    model: Path, folder: Path, *, http: bool = False, **settings: str
) -> Iterator[GeneratorProcess]:
    """Start the service, wait until it serves, stop it with SIGTERM and expect status 0."""
    port, http_port, metrics_port = free_port(), free_port() if http else 0, free_port()
    environment = {
        **os.environ,
        "VALIGN_GENERATOR_MODEL": str(model),
        "VALIGN_GENERATOR_PORT": str(port),
        "VALIGN_GENERATOR_HTTP_PORT": str(http_port),
        "VALIGN_GENERATOR_METRICS_PORT": str(metrics_port),
        "VALIGN_GENERATOR_ARTIFACTS": str(folder / "store"),
        "VALIGN_GENERATOR_CPU_KV_CACHE_GIB": "1",
        "VALIGN_GENERATOR_MAX_MODEL_LEN": "512",
        "VALIGN_GENERATOR_DRAIN_TIMEOUT_S": "5",
        **{f"VALIGN_GENERATOR_{name.upper()}": value for name, value in settings.items()},
    }
    with (folder / "generator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.generator"],
            cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        url = f"http://127.0.0.1:{http_port}" if http else ""
        service = GeneratorProcess(process, f"127.0.0.1:{port}", url, model, folder, metrics_port)
        try:
            asyncio.run(_serving(service))
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    assert status == 0, service.log_tail()


async def _serving(service: GeneratorProcess) -> None:
    waiting = asyncio.create_task(wait_until_serving(service.target, START_TIMEOUT_S))
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=0.5)
        if service.process.poll() is not None:
            waiting.cancel()
            raise AssertionError(f"the generator ended: {service.log_tail()}")
    await waiting


def item(
    id_: str,
    text: str,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
    max_tokens: int = 16,
    prefill: str = "",
) -> pb.GenerateItem:
    sampling = pb.Sampling(temperature=temperature, top_p=0.95, max_tokens=max_tokens, seed=seed)
    prompt = pb.Prompt(messages=[pb.Message(role="user", content=text)], assistant_prefill=prefill)
    return pb.GenerateItem(id=id_, prompt=prompt, sampling=sampling)


@contextlib.asynccontextmanager
async def stub_of(service: GeneratorProcess) -> Any:
    async with open_channel(service.target) as channel:
        yield rpc.GeneratorServiceStub(channel)


async def generate(stub: Any, items: Iterable[pb.GenerateItem], adapter: str = "") -> dict[str, Any]:
    request = pb.GenerateRequest(adapter=adapter, items=items)
    return {answer.id: answer async for answer in stub.Generate(iter([request]), timeout=240)}


async def score(stub: Any, text: str, continuation: str, adapter: str = "") -> Any:
    prompt = pb.Prompt(messages=[pb.Message(role="user", content=text)])
    request = pb.ScoreRequest(
        adapter=adapter, items=[pb.ScoreItem(id="s", prompt=prompt, continuation=continuation)]
    )
    [answer] = [a async for a in stub.Score(iter([request]), timeout=120)]
    return answer
