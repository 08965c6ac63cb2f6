"""The HTTP face under a public name against vLLM's own server: what names, leases and headers cost.

    python -m bench.serving [--model FOLDER] [--requests N] [--max-tokens N] [--rounds N]

Both servers stand in one process on one engine, and take turns (ours, theirs, theirs, ours, …), so that they
share everything else. Theirs is vLLM's application as vLLM builds it. The client is a process of its own and
asks both for the same streams: same prompts, same seeds, same number of tokens, the prefix cache emptied
before each turn. Throughput is what the target is about. On a CPU the engine takes nearly all of the time, so
the CPU time of the server's own process is given too: there a cost cannot hide. JSON to stdout.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from bench.result import MODELS, finish
from services.common.artifacts import ArtifactStore
from services.common.logs import configure_logging
from services.generator.adapters import Adapters
from services.generator.routes import Route
from services.generator.service import Generator
from services.generator.serving.build import build_server
from services.generator.serving.names import base_name
from services.generator.serving.traffic import Traffic
from services.generator.settings import GeneratorSettings, apply_engine_environment

DEFAULT_MODEL = MODELS / "SmolLM2-135M-Instruct"
TARGET = 0.97
PUBLIC = "valign"
SIDES = ("public_name", "vllm")


@asynccontextmanager
async def both(model: Path, folder: Path) -> AsyncIterator[tuple[Any, dict[str, tuple[str, str]]]]:
    """Yields the engine, and for each side its URL and the name of its model."""
    configure_logging("bench", "warning")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = GeneratorSettings(model=str(model), port=0, http_port=port, max_model_len=1024)
    apply_engine_environment(settings)
    from services.generator.engine import VllmEngine
    from services.generator.openai_app import OpenAIApp

    engine = VllmEngine(settings)
    adapters = Adapters(
        engine, ArtifactStore(str(folder / "store")), folder / "cache", max_bytes=2**31, tolerance=0.02
    )
    generator = Generator(engine, adapters, max_in_flight=settings.max_in_flight, max_calls=8)
    app = OpenAIApp(engine, base_name(str(model)))
    ours = build_server(settings, generator, app, Traffic(), app.check)
    try:
        await engine.start()
        await app.attach()
        await ours.start()
        generator.routes.set(Route(PUBLIC, ""))
        async with _vllm_server(engine.llm, str(model)) as theirs:
            yield engine, {"public_name": (f"http://127.0.0.1:{port}", PUBLIC), "vllm": (theirs, PUBLIC)}
    finally:
        await ours.drain(1)
        app.detach()
        await engine.stop()


@asynccontextmanager
async def _vllm_server(llm: Any, model: str) -> AsyncIterator[str]:
    """vLLM's own application with its own defaults, on the engine that is there."""
    import uvicorn
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser: Any = FlexibleArgumentParser
    # The same name: it stands in every chunk, and a longer one costs more.
    arguments = make_arg_parser(parser()).parse_args(["--model", model, "--served-model-name", PUBLIC])
    # Ours has taken the names of vLLM's counters of requests, and a second application would do without.
    taken = REGISTRY._names_to_collectors.items()
    for collector in {one for name, one in taken if name.startswith("http_")}:
        REGISTRY.unregister(collector)
    app = build_app(arguments, ("generate",), llm.model_config)
    await init_app_state(llm, app.state, arguments, ("generate",))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    server = Server(uvicorn.Config(app, log_config=None, access_log=False))
    app.state.server = server
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def client() -> None:
    """Read one order a line from stdin, run its batch, write its result as a line."""
    import aiohttp

    async def one(session: Any, order: dict[str, Any], number: int) -> int:
        body = {
            "model": order["model"],
            "messages": [{"role": "user", "content": f"Write story {number} about the sea."}],
            "max_tokens": order["max_tokens"],
            "temperature": 0.7,
            "seed": number,
            "ignore_eos": True,
            "stream": True,
        }
        chunks = 0
        async with session.post(f"{order['url']}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                chunks += line.startswith(b"data: {")
            assert b"[DONE]" in line or not line.strip()
        return chunks

    timeout = aiohttp.ClientTimeout(total=1200)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            started = time.perf_counter()
            chunks = await asyncio.gather(*(one(session, order, n) for n in range(order["requests"])))
            print(json.dumps({"s": time.perf_counter() - started, "chunks": sum(chunks)}), flush=True)


async def measure(model: Path, requests: int, max_tokens: int, rounds: int) -> dict[str, Any]:
    """Run the comparison."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu: dict[str, list[float]] = {side: [] for side in SIDES}
    chunks: dict[str, set[int]] = {side: set() for side in SIDES}
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.serving", "--client",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert asking.stdin is not None
    assert asking.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        async with both(model, Path(folder)) as (engine, where):
            for number in range(-1, rounds):
                # Round -1 warms up, and is not counted.
                for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                    await engine.llm.reset_prefix_cache()
                    url, name = where[side]
                    order = {"url": url, "model": name, "requests": requests, "max_tokens": max_tokens}
                    begun = time.process_time()
                    asking.stdin.write(json.dumps(order).encode() + b"\n")
                    done = json.loads(await asking.stdout.readline())
                    if number >= 0:
                        seconds[side].append(done["s"])
                        cpu[side].append(time.process_time() - begun)
                        chunks[side].add(done["chunks"])
            info = engine.info
    asking.stdin.close()
    await asking.wait()
    tokens = requests * max_tokens
    pairs = [theirs / ours for ours, theirs in zip(seconds["public_name"], seconds["vllm"], strict=True)]
    ratio = sum(seconds["vllm"]) / sum(seconds["public_name"])
    return {
        "name": "serving",
        "model": model.name,
        "device": info.device,
        "engine_version": info.engine_version,
        "requests": requests,
        "max_tokens": max_tokens,
        "rounds": rounds,
        "chunks": {side: sorted(found) for side, found in chunks.items()},
        "tokens_per_s": {side: round(tokens * rounds / sum(found), 2) for side, found in seconds.items()},
        "median_s": {side: round(statistics.median(found), 3) for side, found in seconds.items()},
        "ratio_of_rounds": [round(one, 4) for one in pairs],
        "server_cpu_us_per_token": {
            side: round(sum(found) / rounds / tokens * 1e6, 1) for side, found in cpu.items()
        },
        "server_cpu_ratio": round(sum(cpu["public_name"]) / sum(cpu["vllm"]), 4),
        "ratio": round(ratio, 4),
        "target": TARGET,
        "ok": ratio >= TARGET and chunks["public_name"] == chunks["vllm"],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        asyncio.run(client())
        return 0
    return finish(asyncio.run(measure(options.model, options.requests, options.max_tokens, options.rounds)))


# vLLM's engine process imports this module again.
if __name__ == "__main__":
    raise SystemExit(main())
