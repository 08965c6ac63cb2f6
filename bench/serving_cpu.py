"""What names, leases and headers cost the server's own process: CPU microseconds a request and a token.

    python -m bench.serving_cpu [--model FOLDER] [--requests N] [--rounds N]

``bench.serving`` with the engine taken out: one answer is recorded and then replayed to every request, a
token a turn of the loop, so that what is left is the work of the two servers, ours and vLLM's own. Each round
asks both for short and for long streams; the difference of the two is the cost of tokens, the rest that of
requests. A machine that does other things as well disturbs this less than throughput: it is CPU time, and
each side's lowest round counts. The target is about the short streams, where the two costs weigh alike. JSON
to stdout.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.result import finish
from bench.serving import DEFAULT_MODEL, SIDES, both

SHORT, LONG = 32, 256
TARGET = 1.03


async def _replay(llm: Any) -> None:
    """Record the longest answer, and let the engine give its beginning to everybody from now on."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    recorded: list[Any] = []
    params = SamplingParams(
        temperature=0.7, seed=1, max_tokens=LONG, ignore_eos=True, output_kind=RequestOutputKind.DELTA
    )
    async for output in llm.generate("Write a story about the sea.", params, request_id="recorded"):
        recorded.append(output)
    last = recorded[-1]

    async def generate(prompt: Any, params: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for output in recorded[: params.max_tokens - 1]:
            # A turn each, as the engine gives all requests of a batch one token a step.
            await asyncio.sleep(0)
            yield output
        await asyncio.sleep(0)
        yield last

    llm.generate = generate


async def measure(model: Path, requests: int, rounds: int) -> dict[str, Any]:
    """Run the comparison."""
    found: dict[str, dict[int, list[float]]] = {side: {SHORT: [], LONG: []} for side in SIDES}
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.serving", "--client",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert asking.stdin is not None
    assert asking.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        async with both(model, Path(folder)) as (engine, where):
            await _replay(engine.llm)
            for number in range(-1, rounds):
                # Round -1 warms up, and is not counted.
                for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                    url, name = where[side]
                    for tokens in (SHORT, LONG):
                        order = {"url": url, "model": name, "requests": requests, "max_tokens": tokens}
                        begun = time.process_time()
                        asking.stdin.write(json.dumps(order).encode() + b"\n")
                        await asking.stdout.readline()
                        if number >= 0:
                            found[side][tokens].append((time.process_time() - begun) / requests * 1e6)
            version = engine.info.engine_version
    asking.stdin.close()
    await asking.wait()
    lowest = {side: {tokens: min(us) for tokens, us in of.items()} for side, of in found.items()}
    token_us = {side: (of[LONG] - of[SHORT]) / (LONG - SHORT) for side, of in lowest.items()}
    request_us = {side: of[SHORT] - token_us[side] * SHORT for side, of in lowest.items()}
    ratio = lowest["public_name"][SHORT] / lowest["vllm"][SHORT]
    return {
        "name": "serving_cpu",
        "model": model.name,
        "engine_version": version,
        "requests": requests,
        "rounds": rounds,
        "token_us": {side: round(us, 2) for side, us in token_us.items()},
        "request_us": {side: round(us, 1) for side, us in request_us.items()},
        "above_vllm_us": {
            "token": round(token_us["public_name"] - token_us["vllm"], 2),
            "request": round(request_us["public_name"] - request_us["vllm"], 1),
        },
        "ratio": round(ratio, 4),
        "target": TARGET,
        "ok": ratio <= TARGET,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    return finish(asyncio.run(measure(options.model, options.requests, options.rounds)))


# vLLM's engine process imports this module again.
if __name__ == "__main__":
    raise SystemExit(main())
