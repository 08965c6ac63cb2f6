"""The life of ``make stack``: start everything, say where it is, watch over it, stop it in order."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from scripts.stack.parts import HOST, Part, Postgres, mlflow_part, prometheus_part, webhook_key, write_targets
from services.cli.display import duration
from services.cli.errors import CliError
from services.cli.settings import child_environment
from services.cli.up.child import ChildSpec
from services.cli.up.home import Home
from services.cli.up.ports import free_ports, holder, is_free
from services.cli.up.supervisor import Supervisor

MODEL, ENCODER, SECOND_ENCODER = "SmolLM2-135M-Instruct", "all-mpnet-base-v2", "all-MiniLM-L6-v2"
PORTS = {"mlflow": 5000, "prometheus": 9090}
START_TIMEOUT_S = 600.0
# `valign up` gives its services 60 s to stop, and then kills them.
STOP_TIMEOUT_S = 100.0
STATE_FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack: where each part is."""

    home: Path
    url: str
    serving_url: str
    database_url: str
    mlflow_url: str
    prometheus_url: str
    services: Mapping[str, Any]

    @classmethod
    def read(cls, home: Path) -> Stack | None:
        """What runs in this folder; None if nothing does."""
        if Home(home / "valign").holder_pid() is None:
            return None
        try:
            return cls(home, **json.loads((home / STATE_FILE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def write(self) -> None:
        """Keep it for ``Stack.read``."""
        fields = {
            "url": self.url,
            "serving_url": self.serving_url,
            "database_url": self.database_url,
            "mlflow_url": self.mlflow_url,
            "prometheus_url": self.prometheus_url,
            "services": self.services,
        }
        (self.home / STATE_FILE).write_text(json.dumps(fields, indent=2), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for: ``models`` is the folder of the fetched models, ``settings`` are variables of the
    services beside those that the stack sets."""

    home: Path
    models: Path
    any_ports: bool
    settings: Mapping[str, str]


def run(options: Options) -> int:
    """Bring the stack up and keep it until Ctrl-C or SIGTERM; 0 after an orderly stop."""
    with running(options) as (stack, supervisor):
        print(_where(stack), flush=True)
        print("Ctrl-C stops all; data stay in", options.home, flush=True)
        shown = {one.name: one.state for one in supervisor.children}
        try:
            while True:
                supervisor.tick()
                for one in supervisor.children:
                    if shown[one.name] is not one.state:
                        shown[one.name] = one.state
                        print(f"{one.name}: {one.state} {one.detail}".rstrip(), flush=True)
                time.sleep(1.0)
        except KeyboardInterrupt:
            print("stopping ...", flush=True)
    print("stopped.", flush=True)
    return 0


@contextmanager
def running(options: Options) -> Iterator[tuple[Stack, Supervisor]]:
    """The stack, serving; everything that was started is stopped at the end, whatever happens."""
    begun_s = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    home = options.home
    if Home(home / "valign").holder_pid() is not None:
        raise CliError(f"A stack already runs in {home}.", remedy="Stop it (Ctrl-C), or use --home.")
    home.mkdir(parents=True, exist_ok=True)
    ports = _ports(options.any_ports)
    print("starting PostgreSQL ...", flush=True)
    postgres = Postgres(home / "postgres")
    try:
        database_url = postgres.database()
        mlflow, prometheus = (
            mlflow_part(home, ports["mlflow"]),
            prometheus_part(home, ports["prometheus"]),
        )
        valign = _valign_part(options, database_url, mlflow.url)
        supervisor = Supervisor(
            [(part.spec, part.probe) for part in (mlflow, prometheus, valign)], stop_timeout_s=STOP_TIMEOUT_S
        )
        try:
            supervisor.start()
            _wait(supervisor)
            state = Home(home / "valign").read_state() or {"services": {}, "url": ""}
            write_targets(home, {name: one["metrics"] for name, one in state["services"].items()})
            stack = Stack(
                home,
                state["url"],
                state["model_url"].removesuffix("/v1"),
                database_url,
                mlflow.url,
                prometheus.url,
                state["services"],
            )
            stack.write()
            print(f"everything serves after {duration(time.monotonic() - begun_s)}", flush=True)
            yield stack, supervisor
        finally:
            # A second Ctrl-C must not leave processes behind.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            (home / STATE_FILE).unlink(missing_ok=True)
            supervisor.stop()
    finally:
        postgres.stop()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ports(any_ports: bool) -> dict[str, int]:
    if any_ports:
        return dict(zip(PORTS, free_ports(HOST, len(PORTS)), strict=True))
    taken = [
        f"{port} ({name}): {holder(port) or 'held'}"
        for name, port in PORTS.items()
        if not is_free(HOST, port)
    ]
    if taken:
        raise CliError(f"Ports that are needed are taken: {'; '.join(taken)}.", remedy="Use --any-ports.")
    return dict(PORTS)


def _valign_part(options: Options, database_url: str, mlflow_url: str) -> Part:
    home = Home((options.home / "valign").resolve())
    models = [options.models / name for name in (MODEL, ENCODER, SECOND_ENCODER)]
    for model in models:
        if not (model / "config.json").is_file():
            raise CliError(f"The model {model} is missing.", remedy="Fetch it: make models")
    command = [sys.executable, "-m", "services.cli", "up", "--home", str(home.path)]
    command += ["--model", str(models[0]), "--encoder", str(models[1]), "--second-encoder", str(models[2])]
    # On a CPU the engine computes with as many columns as its largest rank has.
    command += ["--max-lora-rank", "16"]
    if options.any_ports:
        command.append("--any-ports")
    settings = {
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "VALIGN_ORCHESTRATOR_DATABASE_URL": database_url,
        "VALIGN_ORCHESTRATOR_MLFLOW_TRACKING_URI": mlflow_url,
        "VALIGN_ORCHESTRATOR_WEBHOOK_KEY": webhook_key(options.home),
        # Only a monitor that asks for it reads them.
        "VALIGN_GENERATOR_ALLOW_TRAFFIC_SAMPLING": "true",
        **options.settings,
    }
    spec = ChildSpec("valign", command, child_environment(settings), options.home / "logs" / "valign.log")

    def probe() -> str:
        state = home.read_state() or {"status": "starting", "services": {}}
        waiting = [name for name, one in state["services"].items() if one["state"] != "serving"]
        return "" if state["status"] == "serving" else f"waiting for {', '.join(waiting) or 'the services'}"

    home.state_file.unlink(missing_ok=True)
    return Part(spec, probe, "")


def _wait(supervisor: Supervisor) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    shown: dict[str, str] = {}
    while not supervisor.ready:
        supervisor.tick()
        for one in supervisor.children:
            told = f"{one.state} {one.detail}".strip()
            if shown.get(one.name) != told:
                shown[one.name] = told
                print(f"  {one.name}: {told}", flush=True)
        if time.monotonic() > deadline_s:
            raise CliError(f"The stack does not serve after {START_TIMEOUT_S:.0f} s.")
        time.sleep(0.5)


def _where(stack: Stack) -> str:
    rows = [
        ("web page and REST API", stack.url),
        ("OpenAI-compatible API", f"{stack.serving_url}/v1"),
        ("PostgreSQL", stack.database_url),
        ("MLflow", stack.mlflow_url),
        ("Prometheus", stack.prometheus_url),
        *((f"{name} metrics", one["metrics"]) for name, one in stack.services.items()),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {where}" for name, where in rows)
