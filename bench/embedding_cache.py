"""What the cache of embeddings saves: a text that was embedded before against one that was not.

Each round embeds new texts through the client with the cache before it (every one a miss: looked up,
computed by the real service, written), and then the same texts again (every one a hit: looked up, checked).
A third time they go to the service without a cache, so that the ratio of miss and bare tells what writing
costs. All three in every round, so that a busy machine slows all of them.

    python -m bench.embedding_cache [--model FOLDER] [--texts N] [--rounds N]

JSON to stdout. The service is the real one in a process of its own; the database is SQLite in a new folder.
``rows_equal`` compares bits: a hit with the row that was computed. ``other_batches`` tells the encoder's own
habit: how far the rows of the same texts lie apart when they share their batches with others.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import numpy as np

from bench.embedder import principles
from bench.result import MODELS, ROOT, finish
from services.common.rpc.client import open_channel, wait_until_serving
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.embedding_cache import CachedEmbedder
from services.orchestrator.ports import Embeddings
from services.orchestrator.store import SqlRunStore

TARGET = {"miss_to_hit": 10.0}
_LIMIT_BYTES = 1 << 30


async def timed(work: Awaitable[Embeddings]) -> tuple[float, Embeddings]:
    started = time.perf_counter()
    found = await work
    return time.perf_counter() - started, found


async def measure(bare: GrpcEmbedder, cached: CachedEmbedder, texts: int, rounds: int) -> dict[str, Any]:
    """Seconds of each kind; round 0 warms up."""
    seconds: dict[str, list[float]] = {"miss": [], "hit": [], "bare": []}
    equal, apart, differing = True, 0.0, 0
    for number in range(rounds + 1):
        asked = principles(texts, number)
        miss_s, computed = await timed(cached.embed(asked))
        hit_s, kept = await timed(cached.embed(asked))
        # In another order, so that the encoder's batches are others.
        bare_s, again = await timed(bare.embed(asked[::2] + asked[1::2]))
        reordered = np.concatenate([computed.rows[::2], computed.rows[1::2]])
        equal = equal and kept.rows.tobytes() == computed.rows.tobytes()
        apart = max(apart, float(np.abs(again.rows - reordered).max()))
        if number:
            differing += int((again.rows != reordered).any(axis=1).sum())
            for name, value in zip(seconds, (miss_s, hit_s, bare_s), strict=True):
                seconds[name].append(value)
    ratio = statistics.median(m / h for m, h in zip(seconds["miss"], seconds["hit"], strict=True))
    writing = statistics.median(m / b for m, b in zip(seconds["miss"], seconds["bare"], strict=True))
    return {
        "ratio": {"miss_to_hit": round(ratio, 2), "miss_to_bare": round(writing, 3)},
        "target": TARGET,
        "ok": equal and ratio >= TARGET["miss_to_hit"],
        "rows_equal": equal,
        "other_batches": {
            "largest_difference": apart,
            "share_of_rows_that_differ": round(differing / (texts * rounds), 4),
        },
        "microseconds_a_text": {
            name: round(1e6 * statistics.median(values) / texts, 1) for name, values in seconds.items()
        },
    }


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    port = options.port
    env = {
        **os.environ,
        "VALIGN_EMBEDDER_MODEL": str(options.model),
        "VALIGN_EMBEDDER_PORT": str(port),
        "VALIGN_EMBEDDER_METRICS_PORT": "0",
        "VALIGN_EMBEDDER_LOG_LEVEL": "warning",
    }
    store = SqlRunStore(f"sqlite:///{folder / 'bench.db'}")
    store.migrate()
    service = subprocess.Popen([sys.executable, "-m", "services.embedder"], cwd=ROOT, env=env)  # noqa: ASYNC220 - nothing else runs yet
    try:
        await wait_until_serving(f"127.0.0.1:{port}", 180)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            bare = GrpcEmbedder(channel)
            cached = CachedEmbedder(bare, store.embedding_rows(_LIMIT_BYTES))
            dimension = (await bare.describe()).dimension
            measured = await measure(bare, cached, options.texts, options.rounds)
    finally:
        service.terminate()
        service.wait(60)
        store.close()
    facts = {
        "name": "embedding_cache",
        "model": options.model.name,
        "dimension": dimension,
        "texts": options.texts,
        "rounds": options.rounds,
        "cpus": os.cpu_count(),
    }
    return {**facts, **measured}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=50152)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return finish(asyncio.run(run(options, Path(folder))))


if __name__ == "__main__":
    raise SystemExit(main())
