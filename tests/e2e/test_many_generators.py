"""A whole run over three real generators: one is killed while it generates, one while it loads the adapter.
The public name moves only once both are back and have proven it.

The embedder, the trainer and the orchestrator are real processes too. The model is tiny and was taught to
state principles.
"""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.rpc.client import open_channel
from services.orchestrator.clients.replica import GrpcReplica
from services.orchestrator.registry.records import Route
from services.orchestrator.store import SqlRunStore
from tests.chaos.campaign.processes import ROOT, Service, clean_environment, free_port, serving
from tests.chaos.orchestrators import Orchestrator, orchestrator
from tests.e2e.test_any_model import STUDY, TEACH, TOPICS
from tests.integration.generator.process import engine_core_pid

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

WINDOW = 8
PRINCIPLES = 16
ITEMS = "valign_orchestrator_replica_items_total"
IN_FLIGHT = "valign_orchestrator_replica_in_flight"
COMPUTED = "valign_generator_request_seconds_count"


class Process(Service):
    """A service on a port of its own, which dies with all that it has started."""

    def __init__(self, kind: str, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        port, self.metrics_port = free_port(), free_port()
        named = {**settings, "PORT": str(port), "METRICS_PORT": str(self.metrics_port)}
        environment = {f"VALIGN_{kind.upper()}_{key}": value for key, value in named.items()}
        super().__init__(
            name, [f"services.{kind}"], environment, lambda: serving(port), folder / f"{name}.log"
        )
        self.target = f"127.0.0.1:{port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                cwd=ROOT,
                env=clean_environment(**self.environment, HF_HUB_OFFLINE="1"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, sign: signal.Signals) -> None:
        """To it and all that it has started."""
        assert self.process is not None
        os.killpg(self.process.pid, sign)

    def freeze_engine(self) -> None:
        """The generator still answers, but nothing for which it needs its model; until it is killed."""
        assert self.process is not None
        os.kill(engine_core_pid(self.process.pid), signal.SIGSTOP)

    def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.process.wait(30)


class Fleet:
    """Three generators of one model, and what a run over them needs."""

    def __init__(self, folder: Path, model: Path, encoder: Path) -> None:
        self.folder = folder
        store = str(folder / "artifacts")
        generating = {
            "MODEL": str(model),
            "ARTIFACTS": store,
            "CPU_KV_CACHE_GIB": "1",
            "MAX_MODEL_LEN": "1024",
            "MAX_NUM_SEQS": str(WINDOW),
        }
        own = [{**generating, "ADAPTER_CACHE": str(self.fetched_to(n))} for n in range(3)]
        self.generators = [Process("generator", folder, f"generator-{n}", own[n]) for n in range(3)]
        training = {
            "STATE_DIR": str(folder / "trainer"),
            "ARTIFACTS_URI": store,
            "THREADS": "1",
            "DEVICE": "cpu",
        }
        self.embedder = Process("embedder", folder, "embedder", {"MODEL": str(encoder)})
        self.trainer = Process("trainer", folder, "trainer", training)

    def fetched_to(self, number: int) -> Path:
        """Where a generator puts the adapters that it is told to load."""
        return self.folder / f"adapters-{number}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Orchestrator]:
        """Everything; the orchestrator, which names the three."""
        processes = [*self.generators, self.embedder, self.trainer]
        try:
            for process in processes:
                process.start()
            for process in processes:
                await asyncio.to_thread(process.wait_ready)
            targets = {
                "generator": ",".join(one.target for one in self.generators),
                "embedder": self.embedder.target,
                "trainer": self.trainer.target,
            }
            settings = {"GENERATOR_WINDOW": str(WINDOW), "ARTIFACTS": str(self.folder / "artifacts")}
            async with orchestrator(self.folder, targets, settings=settings) as found:
                yield found
        finally:
            for process in processes:
                process.stop()

    def events(self, run_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Kind and data of every event."""
        store = SqlRunStore(f"sqlite:///{self.folder}/orchestrator.db")
        try:
            return [(one.kind, dict(one.data)) for one in store.events(run_id, limit=100_000)]
        finally:
            store.close()

    def told(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """What the events of one kind tell; quick, for whoever must not be late."""
        with contextlib.closing(sqlite3.connect(self.folder / "orchestrator.db", timeout=30)) as database:
            query = "SELECT data FROM run_events WHERE run_id = ? AND kind = ? ORDER BY number"
            return [json.loads(data) for (data,) in database.execute(query, (run_id, kind))]

    def completions(self, run_id: str) -> list[dict[str, Any]]:
        """Every stored completion."""
        store = SqlRunStore(f"sqlite:///{self.folder}/orchestrator.db")
        try:
            return [asdict(one) for one in store.completions(run_id)]
        finally:
            store.close()

    def make_candidate(self, adapter: str) -> None:
        """The verdict on so small a model is a rejection, which ends every promotion before the swap."""
        with contextlib.closing(sqlite3.connect(self.folder / "orchestrator.db")) as database, database:
            changed = database.execute("UPDATE adapters SET state = 'candidate' WHERE name = ?", (adapter,))
            assert changed.rowcount == 1


def value(text: str, name: str, **labels: str) -> int:
    """A metric's sum over the labels that are not named."""
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def counted(process: Orchestrator, replica: Process, outcome: str) -> int:
    """Items that a replica answered, or that were taken back from it."""
    answer = await process.http.get("/metrics")
    return value(answer.text, ITEMS, replica=replica.target, outcome=outcome)


async def computed(replica: Process) -> int:
    """Items that its engine has computed, by its own count."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{replica.metrics_port}/metrics")
    return value(answer.text, COMPUTED)


async def route_of(replica: Process) -> Route | None:
    """What the replica itself says that the public name serves."""
    async with open_channel(replica.target) as channel:
        return await GrpcReplica(replica.target, channel).route("valign")


async def until(condition: Any, timeout_s: float = 120) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_run_one_killed_generating_one_killed_swapping_ends_with_everything_once(
    minilm: Path, tmp_path: Path
) -> None:
    model = tmp_path / "tiny-qwen2"
    taught = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", TEACH, "qwen2", str(model), "False", "400"],
        cwd=ROOT, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert taught.returncode == 0, taught.stderr
    fleet = Fleet(tmp_path, model, minilm)
    first, second, third = fleet.generators
    async with fleet.running() as process:
        run_id = await process.create_run({**STUDY, "principles_per_topic": PRINCIPLES})

        async def caught() -> bool:
            """Frozen in its work: it has given answers, what it sent is read, and something is left to do."""
            text = (await process.http.get("/metrics")).text
            if not value(text, ITEMS, replica=first.target, outcome="done"):
                return False
            if not value(text, IN_FLIGHT, replica=first.target):
                return False
            first.send(signal.SIGSTOP)
            await asyncio.sleep(0.3)
            text = (await process.http.get("/metrics")).text
            if value(text, IN_FLIGHT, replica=first.target):
                return True
            first.send(signal.SIGCONT)
            return False

        async def half_trained() -> bool:
            assert not fleet.told(run_id, "run.failed"), fleet.events(run_id)[-1]
            told = fleet.told(run_id, "training.progress")
            return any(one["step"] * 2 >= one["total_steps"] > 0 for one in told)

        async def loading() -> bool:
            """All are asked at once: one has proven it, and this one has got what it is to prove."""
            assert not fleet.told(run_id, "run.failed"), fleet.events(run_id)[-1]
            return "adapter.loaded" in third.log.read_text() and any(
                fleet.fetched_to(1).rglob("adapter_model.safetensors")
            )

        # Killed while it generates: it had given answers, and had been asked for more.
        await until(caught)
        first.kill()
        done = await counted(process, first, "done")

        # Killed while it loads. Its engine stands still from before the adapter is made, so that the load of
        # so small an adapter has no end before the kill.
        await until(half_trained)
        second.freeze_engine()
        await until(loading)
        assert not fleet.told(run_id, "adapter.loaded")
        second.kill()

        ended = await process.until_ended(run_id, 300)
        assert ended["status"] == "succeeded", ended
        report = await process.report(run_id)
        adapter = report["adapter"]["name"]
        assert "adapter.loaded" not in second.log.read_text()
        assert report["swap"]["loads"][0]["canaries"] > 0

        # Everything that was wanted is there once; what a death cost is what was in flight.
        rows = fleet.completions(run_id)
        slots = [(row["arm"], row["topic_id"], row["index"], row["draw"], row["adapter"]) for row in rows]
        assert len(set(slots)) == len(slots)
        first_arm = [row for row in rows if row["arm"] == "original" and row["outcome"] == "ok"]
        kept = {(row["topic_id"], row["index"]) for row in first_arm}
        assert len(kept) == PRINCIPLES * len(TOPICS)
        taken = [await counted(process, one, "taken_back") for one in fleet.generators]
        assert 0 < taken[0] <= WINDOW
        assert taken[2] == 0
        answered = [await counted(process, one, "done") for one in fleet.generators]
        assert answered[0] == done
        assert await computed(third) == answered[2]

        # The route does not move while two of three cannot prove what it would serve.
        fleet.make_candidate(adapter)
        refused = await process.http.post(
            f"/v1/adapters/{adapter}/promote", json={"override_reason": "a test of the swap"}
        )
        assert refused.status_code == 412, refused.text
        assert "not proven on every replica" in refused.text
        assert await route_of(third) is None

        # They come back empty: it is proven on each of them before the name leads to it on any.
        for one in (first, second):
            one.start()
        for one in (first, second):
            await asyncio.to_thread(one.wait_ready)

        async def promoted() -> bool:
            answer = await process.http.post(
                f"/v1/adapters/{adapter}/promote", json={"override_reason": "a test of the swap"}
            )
            assert answer.is_success or "not proven on every replica" in answer.text, answer.text
            if not answer.is_success:
                await asyncio.sleep(0.5)
            return answer.is_success

        async def served() -> bool:
            """The answer says what is wanted; the leader brings it about on one replica after the other."""
            routes = [await route_of(one) for one in fleet.generators]
            assert {route.adapter for route in routes if route} <= {adapter}
            return None not in routes

        await until(promoted)
        await until(served)
        for one in (first, second):
            assert "adapter.loaded" in one.log.read_text()
