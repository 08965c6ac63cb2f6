"""The embedder over gRPC against SentenceTransformer.encode in the same process, on the same model.

Two comparisons, each interleaved (ours, theirs, ours, ...) so that a busy machine slows both:

- bulk: many texts in one call, against one ``encode`` of all of them; ratio of texts/s.
- callers: 32 concurrent callers with one text a call, against ``encode`` of one text after another.

    python -m bench.embedder [--model FOLDER] [--precision float32|bfloat16] [--texts N] [--rounds N]

JSON to stdout. The service is the real one, in a process of its own; the client and the plain encoder
share this process and are never busy at the same time. The plain encoder always computes in float32, as
it comes; with ``--precision bfloat16`` our side does not do the same work, and the JSON says so.
"""

import argparse
import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.result import MODELS, ROOT, finish
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.rpc.client import open_channel, wait_until_serving

CALLERS = 32
TARGETS = {"bulk": 0.9, "callers": 5.0}
_VERBS = ("respect", "protect", "explain", "report", "question", "share", "measure", "honour")
_NOUNS = ("privacy", "the truth", "every patient", "public data", "a teacher's time", "consent", "the weak")
_TAILS = ("before profit", "in every decision", "", "when nobody is watching", "and say so", "at any cost")


def principles(count: int, seed: int) -> list[str]:
    """Distinct sentences of 6 to 30 words, like the principles that the loop embeds."""
    draw = random.Random(seed)
    return [
        " and ".join(
            f"You shall {draw.choice(_VERBS)} {draw.choice(_NOUNS)} {draw.choice(_TAILS)}".strip()
            for _ in range(draw.randint(1, 3))
        )
        + f", case {number}."
        for number in range(count)
    ]


async def embed(stub: Any, texts: list[str]) -> np.ndarray:
    requests = [embedder_pb2.EmbedRequest(texts=texts[i : i + 4096]) for i in range(0, len(texts), 4096)]
    data, dimension = [], 0
    async for response in stub.Embed(iter(requests), timeout=600):
        data.append(response.rows)
        dimension = response.dimension
    return np.frombuffer(b"".join(data), dtype="<f4").reshape(-1, dimension)


async def measure(stub: Any, plain: Any, count: int, rounds: int) -> dict[str, Any]:
    encode = lambda texts: plain.encode(texts, show_progress_bar=False)  # noqa: E731
    seconds: dict[str, list[float]] = {"bulk": [], "bulk_plain": [], "callers": [], "one_by_one": []}
    difference = 0.0
    for round_number in range(rounds + 1):  # round 0 warms up
        bulk, single = principles(count, round_number), principles(CALLERS * 4, 1000 + round_number)
        started = time.perf_counter()
        rows = await embed(stub, bulk)
        bulk_s = time.perf_counter() - started

        started = time.perf_counter()
        expected = encode(bulk)
        bulk_plain_s = time.perf_counter() - started
        difference = max(difference, float(np.abs(rows - expected).max()))

        async def caller(texts: list[str]) -> None:
            for text in texts:
                await embed(stub, [text])

        started = time.perf_counter()
        await asyncio.gather(*(caller(single[i::CALLERS]) for i in range(CALLERS)))
        callers_s = time.perf_counter() - started

        started = time.perf_counter()
        for text in single:
            encode(text)
        one_by_one_s = time.perf_counter() - started
        if round_number:
            for name, value in zip(seconds, (bulk_s, bulk_plain_s, callers_s, one_by_one_s), strict=True):
                seconds[name].append(value)
    pairs = {"bulk": ("bulk", "bulk_plain"), "callers": ("callers", "one_by_one")}
    ratios = {
        name: statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))
        for name, (ours, theirs) in pairs.items()
    }
    return {
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
        "target": TARGETS,
        "ok": all(ratios[name] >= target for name, target in TARGETS.items()),
        "largest_difference": difference,
        "texts_per_s": {
            "bulk_grpc": count / statistics.median(seconds["bulk"]),
            "bulk_encode": count / statistics.median(seconds["bulk_plain"]),
            "callers_grpc": CALLERS * 4 / statistics.median(seconds["callers"]),
            "one_by_one_encode": CALLERS * 4 / statistics.median(seconds["one_by_one"]),
        },
        "seconds": seconds,
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {
        **os.environ,
        "VALIGN_EMBEDDER_MODEL": str(options.model),
        "VALIGN_EMBEDDER_PORT": str(port),
        "VALIGN_EMBEDDER_METRICS_PORT": "0",
        "VALIGN_EMBEDDER_LOG_LEVEL": "warning",
        "VALIGN_EMBEDDER_PRECISION": options.precision,
    }
    command = [sys.executable, "-m", "services.embedder"]
    service = subprocess.Popen(command, cwd=ROOT, env=env)  # noqa: ASYNC220
    try:
        plain = SentenceTransformer(str(options.model))
        await wait_until_serving(f"127.0.0.1:{port}", 180)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub = embedder_pb2_grpc.EmbedderServiceStub(channel)
            measured = await measure(stub, plain, options.texts, options.rounds)
    finally:
        service.terminate()
        service.wait(60)
    facts = {
        "name": "embedder",
        "model": options.model.name,
        "precision": options.precision,
        "baseline_precision": "float32",
        "device": str(plain.device),
        "cpus": os.cpu_count(),
        "texts": options.texts,
        "callers": CALLERS,
        "rounds": options.rounds,
    }
    return {**facts, **measured}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "all-MiniLM-L6-v2")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    return finish(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    raise SystemExit(main())
