"""How long a swap takes under load: from publishing an adapter to its proof.

    python -m bench.swap [--model FOLDER] [--swaps N] [--load N]

One real PEFT adapter is made once. Each swap publishes it anew (another manifest, so another
sha256 and name) to the artifact store, loads it over gRPC (fetch, checks, engine, canaries) and
unloads it, while other requests on the base model are kept in flight. Each load is proven, or the
benchmark fails; no other request may fail. JSON to stdout; times in seconds.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.generator import DEFAULT_MODEL, items, serving
from bench.result import ROOT, finish
from services.common.pb.generator.v1 import generator_pb2 as pb


async def keep_busy(stub: Any, load: int, counts: dict[str, int], stopping: asyncio.Event) -> None:
    """One call with ``load`` requests after another."""
    while not stopping.is_set():
        call = stub.Generate(iter([pb.GenerateRequest(items=items(load, 32))]), timeout=600)
        async for answer in call:
            counts["failed" if answer.HasField("error") else "completed"] += 1


def make_adapter(model: Path, store: Path) -> dict[str, str]:
    """A real PEFT adapter for the model, made in a process of its own."""
    program = "tests.integration.generator.make_adapter"
    made = subprocess.run(
        [sys.executable, "-m", program, str(model), str(store), "first"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    result: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    return result


async def measure(model: Path, swaps: int, load: int) -> dict[str, Any]:
    """Run the measurement."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = await asyncio.to_thread(make_adapter, model, folder / "store")
        async with serving(model, folder) as (engine, stub, store):
            source = folder / "source"
            manifest = store.fetch_folder(first["uri"], first["sha256"], source)
            (source / "manifest.json").unlink()
            stopping, counts = asyncio.Event(), {"completed": 0, "failed": 0}
            busy = asyncio.create_task(keep_busy(stub, load, counts, stopping))
            await asyncio.sleep(1)
            published_to_proven, loads = [], []
            for number in range(swaps):
                started = time.perf_counter()
                artifact = await asyncio.to_thread(
                    store.put_folder, f"adapters/s{number}", source, {**manifest.meta, "publication": number}
                )
                request = pb.LoadAdapterRequest(name=f"s{number}", uri=artifact.uri, sha256=artifact.sha256)
                response = await stub.LoadAdapter(request, timeout=300)
                published_to_proven.append(time.perf_counter() - started)
                loads.append(response.duration_s)
                await stub.UnloadAdapter(pb.UnloadAdapterRequest(name=f"s{number}"), timeout=300)
            stopping.set()
            await busy
            info = engine.info
    cuts = statistics.quantiles(published_to_proven, n=100, method="inclusive")
    return {
        "name": "swap",
        "model": model.name,
        "device": info.device,
        "engine_version": info.engine_version,
        "swaps": swaps,
        "requests_in_flight": load,
        "median_s": round(statistics.median(published_to_proven), 4),
        "p99_s": round(cuts[98], 4),
        "max_s": round(max(published_to_proven), 4),
        "load_median_s": round(statistics.median(loads), 4),
        "other_requests": counts,
        "target": {"failed": 0},
        "ok": counts["failed"] == 0 and counts["completed"] > 0,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--load", type=int, default=16)
    options = parser.parse_args()
    return finish(asyncio.run(measure(options.model, options.swaps, options.load)))


# vLLM's engine process imports this module again.
if __name__ == "__main__":
    raise SystemExit(main())
