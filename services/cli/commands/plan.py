"""``plan``: what a run would cost, before it begins."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.api import Json
from services.cli.commands.assets import send_tasks
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.commands.runs import find_study
from services.cli.documents import read_text
from services.cli.errors import CliError, about_document
from services.cli.output import console, print_json, say, table

DOES_NOT_FIT = 4

HELP = """Estimate tokens, training steps, seconds and memory of a run; nothing is started.

Exits with 4 if something does not fit. What is not given is taken from the services that run, from past runs
of their model, or is not estimated; the plan says which.

Examples:

valign plan demo

valign plan study.yaml --shape 8b --device h100

valign plan study.yaml --model-config ./model/config.json --device-memory-gib 44.5 --gpus 2
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(help=HELP)(plan)


def plan(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study such as `demo`.")
    ],
    shape: Annotated[
        str, typer.Option(help="The model's size by name: 135m, 1b, 3b, 8b, 14b, 32b or 70b.")
    ] = "",
    model_config: Annotated[
        Path | None, typer.Option(help="The model's config.json, or its folder, instead of --shape.")
    ] = None,
    parameters: Annotated[
        int, typer.Option(help="Number of weights, where it is known better than by counting.")
    ] = 0,
    device: Annotated[
        str, typer.Option(help="A device by name: l4, l40s, a100-40, a100-80, h100 or h200.")
    ] = "",
    device_memory_gib: Annotated[
        float | None, typer.Option(help="Memory of one device in GiB, instead of the named device's.")
    ] = None,
    gpus: Annotated[int, typer.Option(help="GPUs of one engine.", min=1)] = 1,
    replicas: Annotated[int, typer.Option(help="Engines that share the completions.", min=1)] = 1,
    training_gpus: Annotated[int, typer.Option(help="GPUs of one training job.", min=1)] = 1,
    sharding: Annotated[
        str, typer.Option(help="none, or full: training GPUs share the base's weights.")
    ] = "none",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Activations are computed again instead of kept.")
    ] = False,
    training_bits: Annotated[
        int | None, typer.Option(help="Bits of a base weight while training: 4, 16 or 32.")
    ] = None,
    completion_tokens: Annotated[float | None, typer.Option(help="Mean tokens of a completion.")] = None,
    tokens_per_s: Annotated[
        float | None, typer.Option(help="Completion tokens a second, over all engines.")
    ] = None,
    scores_per_s: Annotated[float | None, typer.Option(help="Scored continuations a second.")] = None,
    embeddings_per_s: Annotated[float | None, typer.Option(help="Embedded texts a second.")] = None,
    examples_per_s: Annotated[float | None, typer.Option(help="Training examples a second.")] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Estimate tokens, training steps, seconds and memory of a run; nothing is started."""
    options: Json = {
        "shape": shape,
        "config": _config(model_config),
        "parameters": parameters,
        "device": device,
        "device_memory_gib": device_memory_gib,
        "gpus": gpus,
        "replicas": replicas,
        "training_gpus": training_gpus,
        "sharding": sharding,
        "checkpointing": checkpointing,
        "training_bits": training_bits,
        "completion_tokens": completion_tokens,
        "completion_tokens_per_s": tokens_per_s,
        "scores_per_s": scores_per_s,
        "embeddings_per_s": embeddings_per_s,
        "trained_examples_per_s": examples_per_s,
    }
    asked = {name: value for name, value in options.items() if value not in (None, "")}
    with connect(url) as api:
        document = find_study(api, study)
        send_tasks(api, document)
        with about_document(document.name, document.text):
            found: Json = api.post_json("/plans", {"study": document.text, **asked})
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found["fits"]:
        raise SystemExit(DOES_NOT_FIT)


def _config(path: Path | None) -> Any:
    if path is None:
        return None
    file = path / "config.json" if path.is_dir() else path
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise CliError(f"{file} is not JSON: {error}.", code="INVALID_INPUT") from error


def _print(found: Json) -> None:
    heads = ["stage", "completions", "at most", "tokens", "scores", "texts", "steps", "seconds"]
    rows = [
        _row(one["stage"], one["expected"], one["at_most"], one["seconds"])
        for one in [*found["stages"], {**found, "stage": "all"}]
    ]
    console().print(table(f"plan of {found['study']}", heads, rows, right=7))
    for need in found["memory"]:
        parts = ", ".join(f"{name} {value:.1f}" for name, value in need["parts"].items())
        usable = "" if need["usable_gib"] is None else f" of {need['usable_gib']:.1f}"
        room = "" if need["sequences"] is None else f"; room for {need['sequences']} sequences"
        word = {True: "fits", False: "does not fit", None: "no device named"}[need["fits"]]
        say(
            f"{need['what']} on {need['gpus']} x {found['device'] or '?'}: {need['needed_gib']:.1f}{usable}"
            f" GiB each, {word} ({parts}{room})"
        )
    if found["gpu_s"] is not None:
        rest = "" if found["seconds"]["complete"] else " and what is not known"
        say(f"GPU-seconds: {found['gpu_s']:,.0f}{rest}")
    for speed in found["speeds"]:
        say(f"speed: {speed['what']} {speed['per_s']:,.1f} ({speed['source']})")
    for limit in found["budget"]:
        word = {True: "enough", False: "too little", None: "not known"}[limit["fits"]]
        say(f"budget: {limit['limit']} {limit['allowed']:,.0f}, {word}")
    for sentence in found["assumptions"]:
        say(f"assumed: {sentence}")
    for sentence in found["problems"]:
        say(f"does not fit: {sentence}")


def _row(name: str, expected: Json, at_most: Json, seconds: Json) -> list[str]:
    numbers = (
        expected["completions"],
        at_most["completions"],
        expected["tokens"],
        expected["scores"],
        expected["embeddings"],
        expected["training_steps"],
    )
    known = f"{seconds['known']:,.0f}" if seconds["complete"] else f"{seconds['known']:,.0f}+?"
    return [name, *(f"{number:,}" for number in numbers), known]
