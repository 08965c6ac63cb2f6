"""What one completion costs the orchestrator, over many replicas: it must not grow with their number.

    python -m bench.scale [--completions 100000] [--replicas 64] [--arm 10000] [--no-profile]

A run's own path is measured: ``draw_arm`` with the fleet's dispatcher over real gRPC, the parsing of each
principle, the deciding of each slot, and SQLite on disk. A run draws arm by arm, and so does this: each arm
has ``--arm`` completions, as many arms as it takes. The replicas are simulated, answer at once, and live in a
process of their own: their cost is not in ``cpu_us_per_completion``, which is this process's (threads too),
nor in the memory; it is in the wall time, for they share the machine.

The first and the last quarter of the arms are compared: a cost or a memory that grows with what is stored
shows there. Then one more arm is drawn under cProfile (of the event loop's thread, the bottleneck).
"""

import argparse
import asyncio
import contextlib
import cProfile
import io
import json
import logging
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import structlog

from bench.result import ROOT, finish
from services.common.artifacts import ArtifactStore
from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Discovery
from services.orchestrator.clients.fleet.fleet import Fleet
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.loop.context import RunContext, Services
from services.orchestrator.loop.draws import Slot, draw_arm
from services.orchestrator.loop.journal import Journal
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.study import Study, resolve
from tests.fakes.studies import study_json

GROWTH = 1.25
"""Most that the last quarter's cost, or memory, may be of the first's."""

RUN = "r-scale"


@contextlib.asynccontextmanager
async def simulated(count: int) -> AsyncIterator[list[str]]:
    """The addresses of that many replicas in another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.simulated_replicas", str(count),
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def rss_mib() -> float:
    """Memory of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def slots(count: int) -> list[Slot]:
    """One arm: two topics, half of the completions each."""
    prompt = Prompt((Message("user", "State one principle of AI governance, in one sentence."),))
    return [Slot(topic, index, prompt) for topic in ("privacy", "fairness") for index in range(count // 2)]


async def measure(completions: int, replicas: int, arm: int, profile: bool) -> dict[str, Any]:
    """Draw arm after arm."""
    arms = max(1, completions // arm)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = SqlRunStore(f"sqlite:///{folder}/runs.db")
        store.migrate()
        study = study_json()
        store.create_run(RUN, study["name"], study)
        async with simulated(replicas) as targets:
            fleet = Fleet(Discovery(",".join(targets)), lambda address: open_channel(address.target))
            await fleet.start()
            ctx = RunContext(
                run_id=RUN,
                resolved=resolve(Study.model_validate(study)),
                # Drawing asks neither the embedder nor the trainer.
                services=Services(FleetGenerator(fleet, Patience(60, 30)), *cast(Any, (None, None))),
                store=store,
                artifacts=ArtifactStore(str(folder / "artifacts")),
                journal=Journal(store, RUN),
                cancelled=asyncio.Event(),
            )
            wall, cpu, memory = [], [], []
            for number in range(arms):
                started, used = time.perf_counter(), time.process_time()
                drawn = await draw_arm(ctx, f"arm-{number}", slots(arm), lambda topic: None)
                assert drawn.counts.usable == arm, drawn.counts
                wall.append((time.perf_counter() - started) / arm * 1e6)
                cpu.append((time.process_time() - used) / arm * 1e6)
                memory.append(rss_mib())
                if number % 10 == 9:
                    print(f"{(number + 1) * arm} drawn, {memory[-1]:.0f} MiB", file=sys.stderr, flush=True)
            top = await profiled(ctx, arm) if profile else []
            await fleet.aclose()
        size = (folder / "runs.db").stat().st_size
        store.close()
    quarter = max(1, arms // 4)
    growth = _mean(cpu[-quarter:]) / _mean(cpu[:quarter])
    memory_growth = max(memory[-quarter:]) / max(memory[:quarter])
    return {
        "name": "scale",
        "completions": arms * arm,
        "replicas": replicas,
        "completions_per_arm": arm,
        "cpu_us_per_completion": round(_mean(cpu), 1),
        "wall_us_per_completion": round(_mean(wall), 1),
        "completions_per_s": round(1e6 / _mean(wall)),
        "rss_mib": {"after_first_arm": round(memory[0], 1), "peak": round(max(memory), 1)},
        "database_mib": round(size / 2**20, 1),
        "cpu_growth": round(growth, 3),
        "memory_growth": round(memory_growth, 3),
        "profile_share_of_loop_thread": top,
        "target": {"cpu_growth": GROWTH, "memory_growth": GROWTH},
        "ok": growth <= GROWTH and memory_growth <= GROWTH,
    }


async def profiled(ctx: RunContext, arm: int) -> list[str]:
    """Where the event loop's thread spends its time, itself (not in what it calls)."""
    profile = cProfile.Profile()
    profile.enable()
    await draw_arm(ctx, "arm-profiled", slots(arm), lambda topic: None)
    profile.disable()
    stats = pstats.Stats(profile, stream=io.StringIO())
    entries = cast(dict[tuple[str, int, str], tuple[int, int, float, float, Any]], cast(Any, stats).stats)
    # The loop's own waiting is no work.
    busy = {key: entry[2] for key, entry in entries.items() if "poll" not in key[2]}
    total = sum(busy.values())
    top = sorted(busy.items(), key=lambda entry: -entry[1])[:12]
    return [f"{spent / total:.1%} {'/'.join(Path(key[0]).parts[-2:])}:{key[2]}" for key, spent in top]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--completions", type=int, default=100_000)
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--arm", type=int, default=10_000, help="completions that are drawn together")
    parser.add_argument("--no-profile", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    return finish(
        asyncio.run(
            measure(options.completions, options.replicas, options.arm, profile=not options.no_profile)
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
