"""An auditor's machine: orchestrator and embedder alone, and somebody else's model behind vLLM's own server.

No generator and no trainer runs: what can only be asked needs neither.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from services.cli.up.child import Child, ChildSpec
from tests.e2e.conftest import ROOT
from tests.e2e.test_cli_real import STUDY

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

KEY = "sk-e2e-0123456789-do-not-tell"
MODEL = "their-model"
START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Audit:
    """Where the parts answer, and what they wrote."""

    url: str
    endpoint: str
    home: Path

    def valign(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command; it gets no key."""
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "VALIGN_URL": self.url},
            capture_output=True,
            text=True,
            timeout=600,
        )


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def _running(name: str, command: list[str], home: Path, **environment: str) -> Iterator[Child]:
    known = {key: value for key, value in os.environ.items() if not key.startswith("VALIGN_")}
    child = Child(
        ChildSpec(name, command, {**known, "HF_HUB_OFFLINE": "1", **environment}, home / f"{name}.log")
    )
    child.start()
    try:
        yield child
    finally:
        child.terminate()
        deadline_s = time.monotonic() + 60
        while child.exit_status() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        child.kill_group()


def _await(child: Child, url: str) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        assert child.exit_status() is None, child.log_tail(50)
        assert time.monotonic() < deadline_s, child.log_tail(50)
        try:
            if httpx.get(url, timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)


@pytest.fixture(scope="module")
def audit(smollm2: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audit]:
    """vLLM's OpenAI server with a key, an embedder, and an orchestrator that has the key by host."""
    home = tmp_path_factory.mktemp("audit")
    vllm, rest, rpc, embedder = (_free_port() for _ in range(4))
    endpoint = f"http://127.0.0.1:{vllm}/v1"
    # Not the `vllm` command: it asks for a distribution of that name, which builds for CPUs are not.
    serve = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm2)]
    serve += ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(vllm), "--api-key", KEY]
    # A prompt that is split in parts ends vLLM's CPU engine when it has a seed of its own.
    serve += ["--max-model-len", "1024", "--max-num-batched-tokens", "1024", "--no-enable-chunked-prefill"]
    serve += ["--enforce-eager", "--dtype", "bfloat16"]
    settings = {
        "VALIGN_ORCHESTRATOR_HOME": str(home / "orchestrator"),
        "VALIGN_ORCHESTRATOR_PORT": str(rpc),
        "VALIGN_ORCHESTRATOR_HTTP_PORT": str(rest),
        "VALIGN_ORCHESTRATOR_EMBEDDER_TARGET": f"127.0.0.1:{embedder}",
        "VALIGN_ORCHESTRATOR_ENDPOINT_KEYS": json.dumps({f"127.0.0.1:{vllm}": KEY}),
    }
    embedding = {"VALIGN_EMBEDDER_MODEL": str(minilm), "VALIGN_EMBEDDER_PORT": str(embedder)}
    python = [sys.executable, "-m"]
    with (
        _running("vllm", serve, home, VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_OMP_THREADS_BIND="0-1") as engine,
        _running("embedder", [*python, "services.embedder"], home, **embedding),
        _running("orchestrator", [*python, "services.orchestrator"], home, **settings) as orchestrator,
    ):
        _await(orchestrator, f"http://127.0.0.1:{rest}/readyz")
        _await(engine, f"http://127.0.0.1:{vllm}/health")
        yield Audit(f"http://127.0.0.1:{rest}", endpoint, home)


@pytest.fixture(scope="module")
def measured(audit: Audit) -> dict[str, Any]:
    """The report of one run against the endpoint, made by the command line."""
    study = {key: STUDY[key] for key in ("reference_set", "topics", "prompt_set", "generation")}
    study |= {"name": "audit", "principles_per_topic": 4, "measurement": {"samples": 2, "resamples": 500}}
    file = audit.home / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    done = audit.valign("measure", str(file), "--endpoint", audit.endpoint, "--model", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = audit.valign("report", "latest", "--json")
    assert shown.returncode == 0, shown.stderr
    report: dict[str, Any] = json.loads(shown.stdout)
    return report


def test_measure_real_endpoint_gives_numbers_and_says_what_was_not_controlled(
    measured: dict[str, Any],
) -> None:
    assert measured["base_model"] == MODEL
    assert measured["adapter"] is None
    assert measured["provenance"]["versions"]["device"] == "remote"
    analysis = measured["analysis"]
    assert analysis["verdict"] is None
    arms = {arm["kind"]: arm for arm in analysis["arms"]}
    assert {"original", "base_p3", "aligned"} <= set(arms)
    assert all(0.0 < arms[kind]["mean"]["value"] < 1.5 for kind in ("original", "base_p3"))
    said = " ".join(analysis["uncontrolled"])
    # vLLM does keep to seeds, and the client could tell.
    assert "One prompt got the same answer twice under one seed" in said
    assert "begins the answer of the" in said
    assert "Log-probabilities" in said


def test_ruler_of_the_endpoint_measures_it_again(audit: Audit, measured: dict[str, Any]) -> None:
    frozen = audit.valign("rulers", "freeze", measured["run_id"], "--name", "bench", "--json")
    assert frozen.returncode == 0, frozen.stderr
    file = str(audit.home / "study.yaml")
    done = audit.valign("measure", file, "--endpoint", audit.endpoint, "--model", MODEL, "--ruler", "bench")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(audit.valign("report", "latest", "--json").stdout)
    assert report["ruler"]["sha256"] == json.loads(frozen.stdout)["sha256"]
    # The same model, the same seed: its own principles are the benchmark's, or nearly.
    assert report["ruler"]["own"] == pytest.approx(report["ruler"]["benchmark"], abs=0.1)
    mixed = audit.valign("compare", measured["run_id"], report["run_id"])
    assert mixed.returncode == 1
    assert "different rulers" in mixed.stderr


def test_wrong_model_name_fails_at_once_and_the_key_is_nowhere(
    audit: Audit, measured: dict[str, Any]
) -> None:
    done = audit.valign(
        "measure", str(audit.home / "study.yaml"), "--endpoint", audit.endpoint, "--model", "none"
    )
    assert done.returncode == 1
    assert "endpoint.model" in done.stdout + done.stderr
    places = [path for path in (audit.home / "orchestrator").rglob("*") if path.is_file()]
    for path in [*places, audit.home / "orchestrator.log"]:
        assert KEY.encode() not in path.read_bytes(), path
    assert measured["run_id"]
