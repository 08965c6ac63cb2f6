import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli.commands.machine import detached_arguments
from services.cli.errors import CliError
from services.cli.up.home import Home
from services.cli.up.plan import SERVICES, UpOptions, choose_ports, make_plan
from services.cli.up.ports import free_ports, holder, is_free
from services.cli.up.probes import grpc_probe, http_probe


@pytest.fixture
def options(tmp_path: Path) -> UpOptions:
    return UpOptions(Home(tmp_path), "some/model", "some/encoder", any_ports=True, max_lora_rank=64)


def test_plan_sets_only_names_that_the_services_know(
    options: UpOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(options, choose_ports(options))
    assert [service.spec.name for service in plan.services] == list(SERVICES)
    for service in plan.services:
        name = service.spec.name
        module = importlib.import_module(f"services.{name}.settings")
        prefix = f"VALIGN_{name.upper()}_"
        given = {key: value for key, value in service.spec.environment.items() if key.startswith(prefix)}
        known = {
            f"{prefix}{field}".upper() for field in getattr(module, f"{name.title()}Settings").model_fields
        }
        assert set(given) <= known
        with monkeypatch.context() as patch:
            for key, value in given.items():
                patch.setenv(key, value)
            getattr(module, f"{name.title()}Settings")()


def test_plan_every_service_gets_the_same_artifact_store_and_its_own_ports(options: UpOptions) -> None:
    ports = choose_ports(options)
    plan = make_plan(options, ports)
    stores = {
        value
        for service in plan.services
        for key, value in service.spec.environment.items()
        if key.startswith("VALIGN_") and "ARTIFACTS" in key
    }
    assert stores == {str(options.home.path / "artifacts")}
    assert len(set(ports.values())) == len(ports)
    assert plan.url == f"http://127.0.0.1:{ports['orchestrator']}"


def test_plan_only_some_services_starts_those(tmp_path: Path) -> None:
    options = UpOptions(Home(tmp_path), "m", "e", only=("embedder",), any_ports=True)
    plan = make_plan(options, choose_ports(options))
    assert [service.spec.name for service in plan.services] == ["embedder"]
    assert plan.url == ""


def test_plan_second_encoder_is_an_embedder_of_its_own_that_the_orchestrator_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALIGN_EMBEDDER_REVISION", "of-the-first")
    monkeypatch.setenv("VALIGN_EMBEDDER_PRECISION", "bfloat16")
    options = UpOptions(Home(tmp_path), "m", "first", any_ports=True, second_encoder="second")
    ports = choose_ports(options)
    planned = {service.spec.name: service.spec for service in make_plan(options, ports).services}
    assert list(planned) == ["generator", "embedder", "second_embedder", "trainer", "orchestrator"]
    first, second = planned["embedder"].environment, planned["second_embedder"].environment
    assert list(planned["second_embedder"].command)[1:] == ["-m", "services.embedder"]
    assert (first["VALIGN_EMBEDDER_MODEL"], second["VALIGN_EMBEDDER_MODEL"]) == ("first", "second")
    assert first["VALIGN_EMBEDDER_REVISION"] == "of-the-first"
    assert "VALIGN_EMBEDDER_REVISION" not in second
    assert second["VALIGN_EMBEDDER_PRECISION"] == "bfloat16"
    assert first["VALIGN_EMBEDDER_PORT"] != second["VALIGN_EMBEDDER_PORT"]
    target = planned["orchestrator"].environment["VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET"]
    assert target == f"127.0.0.1:{second['VALIGN_EMBEDDER_PORT']}"
    assert planned["second_embedder"].log.name == "second_embedder.log"


def test_plan_without_a_second_encoder_tells_the_orchestrator_of_none(options: UpOptions) -> None:
    [*_, orchestrator] = make_plan(options, choose_ports(options)).services
    assert "VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET" not in orchestrator.spec.environment


def test_plan_mlflow_is_a_setting_of_the_orchestrator_alone(tmp_path: Path) -> None:
    from services.cli.commands.machine import detached_arguments

    options = UpOptions(Home(tmp_path), "m", "e", any_ports=True, mlflow="http://127.0.0.1:5000")
    assert "--mlflow=http://127.0.0.1:5000" in detached_arguments(options)
    plan = make_plan(options, choose_ports(options))
    named = {
        one.spec.name: one.spec.environment.get("VALIGN_ORCHESTRATOR_MLFLOW_TRACKING_URI")
        for one in plan.services
    }
    assert named == {**dict.fromkeys(named), "orchestrator": "http://127.0.0.1:5000"}


def test_plan_second_encoder_alone_starts_it_alone(tmp_path: Path) -> None:
    only = ("second_embedder",)
    options = UpOptions(Home(tmp_path), "m", "e", only=only, any_ports=True, second_encoder="second")
    ports = choose_ports(options)
    assert [service.spec.name for service in make_plan(options, ports).services] == ["second_embedder"]
    assert "--second-encoder=second" in detached_arguments(options)
    assert "--only=second_embedder" in detached_arguments(options)


def test_choose_ports_taken_port_names_who_holds_it(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        options = UpOptions(Home(tmp_path), "m", "e", any_ports=True, port=port)
        with pytest.raises(CliError, match=rf"{port} \(orchestrator\): held by process .*pid {os.getpid()}"):
            choose_ports(options)
        assert holder(port).endswith(f"(pid {os.getpid()})")
        assert not is_free("127.0.0.1", port)


def test_plan_model_is_served_on_a_port_of_its_own(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = UpOptions(Home(tmp_path), "m", "e", any_ports=True, serve_port=port)
    ports = choose_ports(options)
    plan = make_plan(options, ports)
    assert plan.model_url == f"http://127.0.0.1:{port}/v1"
    [generator, *_] = plan.services
    assert generator.spec.environment["VALIGN_GENERATOR_HTTP_PORT"] == str(port)
    assert f"--serve-port={port}" in detached_arguments(options)
    without = UpOptions(Home(tmp_path), "m", "e", only=("embedder",), any_ports=True)
    assert make_plan(without, choose_ports(without)).model_url == ""


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports("127.0.0.1", 8)
    assert len(set(ports)) == 8
    assert all(is_free("127.0.0.1", port) for port in ports)


def test_detached_arguments_say_the_same(options: UpOptions) -> None:
    arguments = detached_arguments(options)
    assert "--max-lora-rank=64" in arguments
    assert "--any-ports" in arguments
    assert not any(argument.startswith("--port") for argument in arguments)


def test_probes_nobody_there_says_so() -> None:
    assert "not answering" in grpc_probe("127.0.0.1:9")()
    assert "not answering" in http_probe("http://127.0.0.1:9/readyz")()


def test_home_second_holder_is_refused_and_the_lock_ends_with_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.holder_pid() is None
    with home.acquire():
        assert home.holder_pid() == os.getpid()
        with pytest.raises(CliError, match=f"pid {os.getpid()}"):
            home.acquire()
    assert home.holder_pid() is None


def test_home_state_is_read_as_written(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.read_state() is None
    home.write_state({"status": "serving"})
    assert home.read_state() == {"status": "serving"}


def test_stop_holder_ends_it_and_nothing_to_stop_is_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.stop_holder(1.0) is None
    code = (
        "import sys, time; from pathlib import Path; from services.cli.up.home import Home;"
        f"lock = Home(Path({str(tmp_path)!r})).acquire(); print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert home.stop_holder(10.0) == process.pid
    process.communicate()


def test_up_model_that_is_not_there_fails_and_leaves_nothing(tmp_path: Path) -> None:
    """The real trainer alone, with a setting that it refuses."""
    home = tmp_path / "home"
    command = [
        sys.executable,
        "-m",
        "services.cli",
        "up",
        "--home",
        str(home),
        "--any-ports",
        "--only",
        "trainer",
    ]
    environment = {**os.environ, "VALIGN_TRAINER_NO_SUCH_SETTING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "VALIGN_TRAINER_NO_SUCH_SETTING: no such setting" in done.stderr
    assert json.loads((home / "up.json").read_text())["status"] == "stopped"
    assert Home(home).holder_pid() is None


def test_up_trainer_alone_serves_restarts_and_stops_on_sigterm(tmp_path: Path) -> None:
    """The real trainer, which loads no model until it trains."""
    home = Home(tmp_path / "home")
    command = [
        sys.executable, "-m", "services.cli", "up",
        "--home", str(home.path), "--any-ports", "--only", "trainer",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        first = _wait_for_pid(home, other_than=None)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert "already runs" in second.stderr
        os.kill(first, signal.SIGKILL)
        again = _wait_for_pid(home, other_than=first)
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "restarting" in output
    assert not Path(f"/proc/{again}").exists()


def _wait_for_pid(home: Home, other_than: int | None) -> int:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        state = home.read_state()
        if state and state["status"] == "serving":
            pid = state["services"]["trainer"]["pid"]
            if pid != other_than:
                return int(pid)
        time.sleep(0.1)
    raise AssertionError(f"the trainer does not serve: {home.read_state()}")
