"""Three real generators: one is killed while it generates, one while it loads an adapter."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from services.common.artifacts import ArtifactStore
from services.common.errors import PreconditionError
from services.common.rpc.client import open_channel, wait_until_serving
from services.orchestrator.clients.discovery import Discovery
from services.orchestrator.clients.fleet.fleet import Fleet, FleetReplicas
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, GenerationItem, Sampling
from services.orchestrator.registry.leading import RegistryTasks
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.records import AdapterState
from services.orchestrator.registry.retention import Retention
from services.orchestrator.store.sql import SqlRunStore
from tests.fakes.registry import add
from tests.fakes.servers import free_port
from tests.integration.generator.process import ROOT, START_TIMEOUT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WINDOW = 8
COUNT = 160


@dataclass
class Replica:
    """One generator, in a process group with its engine."""

    process: subprocess.Popen[bytes]
    target: str
    metrics_port: int
    log: Path

    def kill(self) -> None:
        """All of it, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def generated(self) -> int:
        """Completions that its engine has computed."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        name, labels = "valign_generator_request_seconds_count", {"kind": "generate"}
        return sum(
            int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        )


def start(model: Path, folder: Path, store: Path) -> Replica:
    port, metrics_port, log = free_port(), free_port(), folder / "generator.log"
    settings = {
        "MODEL": str(model),
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "ARTIFACTS": str(store),
        "CPU_KV_CACHE_GIB": "1",
        "MAX_MODEL_LEN": "256",
        "MAX_NUM_SEQS": "8",
    }
    environment = os.environ | {f"VALIGN_GENERATOR_{name}": value for name, value in settings.items()}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.generator"],
            cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    return Replica(process, f"127.0.0.1:{port}", metrics_port, log)


def run_python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[list[Replica], AdapterRef, Path]]:
    """Three generators of one tiny model, and an adapter for it in the store that they share."""
    make = (
        "import sys; from pathlib import Path; from tests.tiny_models import make_tiny_model;"
        "make_tiny_model('qwen2', Path(sys.argv[1]), True)"
    )
    model, store = tmp_path / "model", tmp_path / "store"
    run_python("-c", make, str(model))
    replicas: list[Replica] = []
    try:
        for number in range(3):
            folder = tmp_path / f"replica-{number}"
            folder.mkdir()
            replicas.append(start(model, folder, store))
        made = run_python(
            "-m", "tests.integration.generator.make_adapter", str(model), str(store), "r-1-i1-0a", "3", "8"
        )
        adapter = json.loads(made.splitlines()[-1])
        for replica in replicas:
            asyncio.run(wait_until_serving(replica.target, START_TIMEOUT_S))
        yield replicas, AdapterRef(adapter["name"], adapter["sha256"], adapter["uri"]), tmp_path
    finally:
        for replica in replicas:
            replica.kill()


def items(stage: str) -> list[GenerationItem]:
    prompt = Prompt((Message("user", "Hello"),))
    return [GenerationItem(f"{stage}/{n}", prompt, Sampling(1.0, 0.95, 24, seed=n)) for n in range(COUNT)]


def counted(replica: Replica, outcome: str) -> int:
    labels = {"replica": replica.target, "outcome": outcome}
    return int(REGISTRY.get_sample_value("valign_orchestrator_replica_items_total", labels) or 0)


async def test_one_killed_generating_one_killed_swapping_the_work_ends_and_is_paid_once(
    place: tuple[list[Replica], AdapterRef, Path],
) -> None:
    replicas, adapter, folder = place
    first, second, third = replicas
    addresses = Discovery(",".join(one.target for one in replicas))
    fleet = Fleet(addresses, lambda address: open_channel(address.target), interval_s=0.5)
    store = SqlRunStore(f"sqlite:///{folder}/runs.db")
    store.migrate()
    await fleet.start()
    try:
        client = FleetGenerator(fleet, Patience(120, 30), window=WINDOW)
        fingerprint = (await client.describe()).fingerprint

        # Killed while it generates.
        seen: Counter[str] = Counter()
        async for completion in client.generate(items("base")):
            assert not completion.error_code
            seen[completion.key] += 1
            if seen.total() == COUNT // 4:
                first.kill()
        assert seen == Counter(item.key for item in items("base"))
        assert 0 < counted(first, "done") < COUNT
        assert 0 < counted(first, "taken_back") <= WINDOW
        # What the others computed is what the dead one had not answered: nothing twice. The engine's own
        # first request of each start is no call's.
        assert second.generated() + third.generated() == COUNT - counted(first, "done")

        # Killed while it loads.
        loading = asyncio.create_task(client.load_adapter(adapter))
        await asyncio.sleep(0.02)
        assert not loading.done()
        second.kill()
        proof = await loading
        assert proof.canaries > 0
        before = third.generated()
        seen.clear()
        async for completion in client.generate(items("tuned"), adapter.name):
            assert completion.adapter_sha256 == adapter.sha256
            seen[completion.key] += 1
        assert seen == Counter(item.key for item in items("tuned"))
        assert third.generated() - before == COUNT
        assert counted(second, "taken_back") == 0

        # The route does not move while two of three cannot prove the adapter.
        add(
            store.registry,
            adapter.name,
            state=AdapterState.CANDIDATE,
            sha256=adapter.sha256,
            uri=adapter.uri,
            base_fingerprint=fingerprint,
        )
        everywhere = FleetReplicas(fleet)
        artifacts = ArtifactStore(str(folder / "store"))
        tasks = RegistryTasks(store.registry, store, artifacts, everywhere, Retention(), 60)
        with pytest.raises(PreconditionError, match="not proven on every replica"):
            await tasks.registry.promote(adapter.name)
        await Reconciler(store.registry, everywhere).step()
        [alive] = fleet.serving
        assert alive.target == third.target
        assert await alive.replica.route("valign") is None
    finally:
        await fleet.aclose()
        store.close()
