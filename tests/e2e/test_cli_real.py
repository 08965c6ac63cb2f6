"""The command line against real vLLM, a real encoder and real training, on SmolLM2-135M."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as stubs
from tests.e2e.conftest import ROOT, System

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]

PROMPT = "State one principle that an AI system should follow."
STUDY: dict[str, Any] = {
    "name": "e2e",
    "reference_set": "ten-commandments",
    "topics": [
        {
            "id": "security-and-privacy",
            "title": "Security and Privacy",
            "description": "Personal information stays under people's control.",
        },
        {
            "id": "bias-removal",
            "title": "Bias Removal",
            "description": "An AI system does not treat people or groups unfairly.",
        },
    ],
    "prompt_set": "small",
    "principles_per_topic": 6,
    "generation": {"max_new_tokens": 48},
    "training": {"learning_rate": 5.0e-4, "epochs": 3},
    "stop": {"max_iterations": 1, "min_relative_improvement": -1000},
    # Control arms are trained by test_any_model, on models that cost less.
    "arms": {"training_seeds": 1, "controls": []},
    "measurement": {"samples": 2, "resamples": 500, "permutations": 500},
    "guards": {"general_max_new_tokens": 8},
}


@dataclass
class Request:
    """One request of the load: when it was in flight (UTC, seconds) and what became of it."""

    began_s: float
    ended_s: float
    answer: pb.GenerateResponse | None


@dataclass
class Load:
    """Users of the base model who go on asking around the swap.

    Not during the whole run: on two cores they would take the training's time.
    """

    stub: stubs.GeneratorServiceStub
    requests: list[Request] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False

    def see(self, event: dict[str, Any]) -> None:
        """Begin with the last training step, end with the iteration."""
        data = event.get("data", {})
        if event.get("kind") == "training.progress" and 0 < data["total_steps"] == data["step"]:
            self.started.set()
        if event.get("kind") in ("iteration.ended", "run.failed") or "status" in event:
            self.stopping = True
            self.started.set()

    async def user(self, number: int) -> None:
        await self.started.wait()
        while not self.stopping:
            began_s = time.time()
            answer = await generate(self.stub, "", 32, f"{PROMPT} Number {number}.", temperature=0.8)
            self.requests.append(Request(began_s, time.time(), answer))


async def generate(
    stub: stubs.GeneratorServiceStub, adapter: str, max_tokens: int, text: str, temperature: float = 0.0
) -> pb.GenerateResponse:
    item = pb.GenerateItem(
        id="one",
        prompt=pb.Prompt(messages=[pb.Message(role="user", content=text)]),
        sampling=pb.Sampling(temperature=temperature, top_p=1.0, max_tokens=max_tokens),
    )

    async def requests() -> AsyncIterator[pb.GenerateRequest]:
        yield pb.GenerateRequest(adapter=adapter, items=[item])

    (answer,) = [answer async for answer in stub.Generate(requests(), timeout=300)]
    return answer


async def greedy(stub: stubs.GeneratorServiceStub, adapter: str = "") -> str:
    answer = await generate(stub, adapter, 32, PROMPT)
    assert not answer.error.code, answer.error
    assert answer.adapter == adapter
    return str(answer.text)


async def watched_run(system: System, study: str, load: Load) -> AsyncIterator[dict[str, Any]]:
    """The lines of `valign run --json`, as they come."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli", "run", study, "--url", system.url, "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdout is not None
    async for line in process.stdout:
        event = json.loads(line)
        load.see(event)
        yield event
    await process.wait()


def write(folder: Path, study: dict[str, Any]) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return str(path)


async def test_run_under_load_swaps_a_proven_adapter_and_disturbs_nobody(
    system: System, tmp_path: Path
) -> None:
    async with grpc.aio.insecure_channel(system.generator) as channel:
        stub = stubs.GeneratorServiceStub(channel)
        before = await greedy(stub)
        load = Load(stub)
        users = [asyncio.create_task(load.user(number)) for number in range(2)]
        *events, run = [one async for one in watched_run(system, write(tmp_path, STUDY), load)]
        await asyncio.gather(*users)
        assert run["status"] == "succeeded", run
        report = json.loads(system.valign("report", run["run_id"], "--json").stdout)
        adapter = report["adapter"]
        await stub.LoadAdapter(
            pb.LoadAdapterRequest(name=adapter["name"], uri=adapter["uri"], sha256=adapter["sha256"])
        )
        tuned = await greedy(stub, adapter["name"])
        after = await greedy(stub)

    assert tuned != before, "the adapter changes what is served"
    assert after == before, "the base's own text has not changed"

    # The first is that of the iteration; the probes load later.
    loaded, *_ = [event for event in events if event["kind"] == "adapter.loaded"]
    loaded_s = datetime.fromisoformat(loaded["time"]).timestamp()
    swapping = [
        one
        for one in load.requests
        if one.began_s < loaded_s and one.ended_s > loaded_s - loaded["data"]["duration_s"]
    ]
    assert swapping, "requests were in flight during the swap"
    for one in load.requests:
        assert one.answer is not None
        assert not one.answer.error.code
        assert one.answer.completion_tokens > 0
        assert one.answer.adapter == ""

    for topic in report["topics"]:
        assert all(topic[name] is not None for name in ("before", "base_p3", "after", "constant"))
    assert [one["iteration"] for one in report["iterations"]] == [0, 1]
    (proof,) = report["swap"]["loads"]
    assert proof["max_relative_error"] <= proof["tolerance"]
    assert proof["mean_shift_nats"] > 0
    kinds = {event["kind"] for event in events}
    assert {"run.started", "stage.progress", "training.progress", "iteration.ended", "run.succeeded"} <= kinds


def test_run_two_principles_only_measures(system: System, tmp_path: Path) -> None:
    study = {**STUDY, "name": "two", "topics": STUDY["topics"][:1], "principles_per_topic": 2}
    done = system.valign("run", write(tmp_path, study))
    assert done.returncode == 0, done.stderr
    assert "measured only" in done.stdout.lower() or "only measured" in done.stdout
    report = json.loads(system.valign("report", "latest", "--json").stdout)
    assert report["stop_reason"] == "too_few_pairs"
    assert report["adapter"] is None


def test_run_other_model_than_the_one_served_fails_with_its_name(system: System, tmp_path: Path) -> None:
    done = system.valign("run", write(tmp_path, {**STUDY, "model": "another-model"}))
    assert done.returncode == 1
    assert "another-model" in done.stdout + done.stderr


def test_run_detached_and_cancelled_ends_as_cancelled(system: System, tmp_path: Path) -> None:
    study = {**STUDY, "name": "cancelled", "principles_per_topic": 50}
    run = json.loads(system.valign("run", write(tmp_path, study), "--detach", "--json").stdout)
    assert system.valign("cancel", run["run_id"]).returncode == 0
    watched = system.valign("watch", run["run_id"], timeout_s=120)
    assert watched.returncode == 1
    assert json.loads(system.valign("show", run["run_id"], "--json").stdout)["status"] == "cancelled"


def test_status_every_service_serves(system: System) -> None:
    done = system.valign("status", "--json")
    assert done.returncode == 0, done.stdout
    services = {one["name"]: one for one in json.loads(done.stdout)["services"]}
    assert {"generator", "embedder", "trainer"} <= set(services)
    assert "SmolLM2" in services["generator"]["model"]


def test_doctor_finds_the_services(system: System, smollm2: Path, minilm: Path) -> None:
    done = system.valign("doctor", "--model", str(smollm2), "--encoder", str(minilm), "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    for name in ("model", "encoder", "orchestrator", "generator", "embedder", "trainer"):
        assert checks[name]["status"] == "ok", checks[name]


@pytest.mark.parametrize("group", ["refs", "prompts", "studies"])
def test_every_shipped_document_can_be_shown(system: System, group: str) -> None:
    listed = json.loads(system.valign(group, "list", "--json").stdout)
    (documents,) = listed.values()
    assert documents
    for one in documents:
        shown = system.valign(group, "show", one["id"])
        assert shown.returncode == 0, shown.stderr
        assert yaml.safe_load(shown.stdout)


def test_refs_check_shipped_set_is_valid_and_a_broken_one_names_its_line(
    system: System, tmp_path: Path
) -> None:
    file = tmp_path / "refs.yaml"
    shown = system.valign("refs", "show", "gdpr-article-5").stdout
    file.write_text(shown, encoding="utf-8")
    assert system.valign("refs", "check", str(file)).returncode == 0
    file.write_text(shown + "nonsense: 1\n", encoding="utf-8")
    done = system.valign("refs", "check", str(file))
    assert done.returncode == 1
    assert f"{file}:{len(shown.splitlines()) + 1}:1" in done.stderr


def test_second_up_on_the_same_home_is_refused(system: System) -> None:
    command = [sys.executable, "-m", "services.cli", "up", "--home", str(system.home), "--any-ports"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "already runs" in done.stderr
