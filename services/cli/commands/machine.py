"""``up``, ``down``, ``status`` and ``doctor``: what runs here, and whether it could."""

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json, table
from services.cli.settings import DEFAULT_URL, load_settings
from services.cli.up.home import Home

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder for database, artifacts and logs. Default: ./.valign.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Base model: a Hugging Face folder or hub id.")]
EncoderOption = Annotated[str, typer.Option("--encoder", help="Sentence encoder: a folder or hub id.")]
SecondEncoderOption = Annotated[
    str,
    typer.Option("--second-encoder", help="An encoder of another family, beside the first: a folder or id."),
]

STARTUP_TIMEOUT_S = 900.0
# Longer than the services' own drain timeout (30 s), after which they are killed.
DOWN_TIMEOUT_S = 90.0


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (up, down, status, doctor):
        app.command()(command)


def up(
    model: ModelOption = "",
    encoder: EncoderOption = "",
    second_encoder: SecondEncoderOption = "",
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the REST API.", min=1, max=65535)] = None,
    serve_port: Annotated[
        int | None, typer.Option(help="Port on which the model is served to people.", min=1, max=65535)
    ] = None,
    any_ports: Annotated[bool, typer.Option("--any-ports", help="Take free ports for everything.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Start only this service; repeatable.")] = None,
    max_lora_rank: Annotated[int | None, typer.Option(help="Largest adapter rank.", min=1)] = None,
    max_model_len: Annotated[
        int | None, typer.Option(help="Longest prompt and answer, in tokens.", min=16)
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(help="Share of GPU memory for the generator; the trainer needs the rest.")
    ] = None,
    mlflow: Annotated[
        str, typer.Option("--mlflow", help="URI of an MLflow server that runs and adapters are mirrored to.")
    ] = "",
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once all serve; `valign down` stops.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the four services on this machine, and keep them running until Ctrl-C.

    With a second encoder there are five. VALIGN_<SERVICE>_* variables pass through to the services.
    """
    from services.cli.doctor.machine import has_gpu
    from services.cli.up.plan import SECOND_EMBEDDER, SERVICES, UpOptions, choose_ports, make_plan
    from services.cli.up.run import run_up, start_detached

    settings = load_settings()
    place = Home(home or settings.home)
    wanted = tuple(only or SERVICES)
    second_encoder = second_encoder or settings.second_encoder
    known = (*SERVICES, SECOND_EMBEDDER)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise CliError(f"No service is called {unknown[0]}; there are {', '.join(known)}.", exit_code=2)
    if SECOND_EMBEDDER in wanted and not second_encoder:
        raise CliError(f"{SECOND_EMBEDDER} needs --second-encoder FOLDER or an id.", exit_code=2)
    if (
        gpu_memory is None
        and {"generator", "trainer"} <= set(wanted)
        and settings.gpu_memory is None
        and has_gpu()
    ):
        gpu_memory = 0.5  # vLLM takes nine tenths of the GPU by default, and training would not fit beside it
    options = UpOptions(
        home=place,
        model=model or settings.model,
        encoder=encoder or settings.encoder,
        port=port,
        serve_port=serve_port,
        only=wanted,
        any_ports=any_ports,
        max_lora_rank=max_lora_rank,
        max_model_len=max_model_len,
        gpu_memory_utilization=gpu_memory,
        second_encoder=second_encoder,
        mlflow=mlflow,
    )
    lock = place.acquire()
    if detach:
        lock.close()
        choose_ports(options)  # a taken port is said here, not in a log
        state = start_detached(place, detached_arguments(options), STARTUP_TIMEOUT_S)
        _print_state(state, place, as_json)
        return
    with lock:
        run_up(place, make_plan(options, choose_ports(options)))


def detached_arguments(options: Any) -> list[str]:
    """Return the arguments of ``valign up`` that say what ``options`` says."""
    given = {
        "--model": options.model,
        "--encoder": options.encoder,
        "--second-encoder": options.second_encoder or None,
        "--home": options.home.path,
        "--port": options.port,
        "--serve-port": options.serve_port,
        "--max-lora-rank": options.max_lora_rank,
        "--max-model-len": options.max_model_len,
        "--gpu-memory": options.gpu_memory_utilization,
        "--mlflow": options.mlflow or None,
    }
    arguments = [f"{name}={value}" for name, value in given.items() if value is not None]
    arguments += [f"--only={name}" for name in options.wanted]
    return [*arguments, "--any-ports"] if options.any_ports else arguments


def down(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop what `valign up` has started with this home."""
    place = Home(home or load_settings().home)
    pid = place.stop_holder(DOWN_TIMEOUT_S)
    if as_json:
        print_json({"stopped_pid": pid})
    else:
        typer.echo(f"nothing runs with {place.path}." if pid is None else f"stopped (pid {pid}).")


def status(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show each service: reachable, serving, its model and version. Exit 1 if one does not serve."""
    with connect(url) as api:
        body = api.get("/system")
    services = body["services"]
    if as_json:
        print_json(body)
    else:
        rows = [
            [
                str(one["name"]),
                "serving" if one.get("serving") else "not serving" if one.get("reachable") else "unreachable",
                str(one.get("model") or "-"),
                str(one.get("fingerprint") or "-")[:12],
                str(one.get("version") or "-"),
                "-" if one.get("latency_s") is None else f"{1000 * one['latency_s']:.0f} ms",
            ]
            for one in services
        ]
        heads = ["service", "state", "model", "fingerprint", "version", "latency"]
        console().print(table("", heads, rows, right=1))
    if not all(one.get("serving") for one in services):
        raise SystemExit(1)


def doctor(
    model: ModelOption = "",
    encoder: EncoderOption = "",
    second_encoder: SecondEncoderOption = "",
    home: HomeOption = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check what is installed, which model would run and what would fail, each with its remedy."""
    from services.cli.doctor.run import run_checks

    settings = load_settings()
    checks = run_checks(
        settings,
        model=model or settings.model,
        encoder=encoder or settings.encoder,
        second_encoder=second_encoder or settings.second_encoder,
        home=Home(home or settings.home),
        url=url.rstrip("/") or settings.url,
    )
    if as_json:
        print_json({"checks": [check.as_json() for check in checks]})
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        made = table("", ["", "check", "found", "remedy"], [])
        for check in checks:
            from rich.markup import escape

            mark = f"[{colours[check.status]}]{check.status}[/]"
            made.add_row(mark, *(escape(text) for text in (check.name, check.detail, check.remedy)))
        console().print(made)
    if any(check.status == "fail" for check in checks):
        raise SystemExit(1)


def _print_state(state: dict[str, Any], home: Home, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    rows = [
        [name, one["state"], one["address"], one["metrics"], one["log"]]
        for name, one in state["services"].items()
    ]
    console().print(table("", ["service", "state", "address", "metrics", "log"], rows))
    if state["url"] and state["url"] != DEFAULT_URL:
        typer.echo(f"for the other commands: export VALIGN_URL={state['url']}")
    if state["model_url"]:
        typer.echo(f"ask the model: {state['model_url']} (OpenAI's API)")
    typer.echo(f"stop with: valign down --home {home.path}")
