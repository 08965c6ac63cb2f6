"""``plan``: what a run would cost, before it begins."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.api import Json
from services.cli.commands.assets import send_tasks
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.commands.runs import find_study
from services.cli.documents import StudyDocument, load_study, read_text
from services.cli.errors import CliError, UnreachableError, about_document
from services.cli.output import console, print_json, say, table
from services.cli.planner import plan_here

DOES_NOT_FIT = 4

HELP = """Estimate tokens, training steps, seconds and memory of a run.

Nothing is started. Exits with 4 if something does not fit, and says the remedy.

What is not given is taken from the services that run, from past runs of their
model on the same hardware, or is not estimated; the plan says which.

Where no orchestrator answers, a plan with --shape or --model-config is made on
this machine: without what serves, and without past runs.

The options ask "what if": a run has the settings that they name.

Examples:

valign plan demo

valign plan study.yaml --shape 8b --device h100

valign plan study.yaml --shape 70b --device h100 --gpus 4
--training-gpus 4 --sharding fsdp2

valign plan study.yaml --model-config ./model --device-memory-gib 44.5
--max-model-len 1024 --max-loras 1
"""

_GENERATOR, _TRAINER, _SPEED = "Generator", "Trainer", "What is known better"


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
    gpus: Annotated[
        int | None,
        typer.Option(
            help="GPUs that share each layer: VALIGN_GENERATOR_TENSOR_PARALLEL_SIZE.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    pipeline_gpus: Annotated[
        int | None,
        typer.Option(
            help="GPUs that share the stack of layers: VALIGN_GENERATOR_PIPELINE_PARALLEL_SIZE.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    copies: Annotated[
        int | None,
        typer.Option(
            help="Copies of the model in one engine: VALIGN_GENERATOR_DATA_PARALLEL_SIZE.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Engines that share the completions (VALIGN_ORCHESTRATOR_GENERATOR_TARGET names them).",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None,
        typer.Option(
            help="Share of a GPU's memory for the engine, 0.9 by default"
            ": VALIGN_GENERATOR_GPU_MEMORY_UTILIZATION.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            help="Longest prompt plus completion in tokens; lower it, and the cache has room for more"
            " sequences: VALIGN_GENERATOR_MAX_MODEL_LEN.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    max_num_seqs: Annotated[
        int | None,
        typer.Option(
            help="Most sequences in one engine step, 256 by default: VALIGN_GENERATOR_MAX_NUM_SEQS.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    max_loras: Annotated[
        int | None,
        typer.Option(
            help="Adapters that one engine step can mix, 2 by default: each takes memory"
            ": VALIGN_GENERATOR_MAX_LORAS.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    max_lora_rank: Annotated[
        int | None,
        typer.Option(
            help="Largest rank of an adapter, lora.rank of the study at the least"
            ": VALIGN_GENERATOR_MAX_LORA_RANK.",
            metavar="N",
            rich_help_panel=_GENERATOR,
        ),
    ] = None,
    training_gpus: Annotated[
        int | None,
        typer.Option(
            help="GPUs of one training job, training.batch_size of the study at the most"
            ": VALIGN_TRAINER_WORKERS.",
            metavar="N",
            rich_help_panel=_TRAINER,
        ),
    ] = None,
    sharding: Annotated[
        str,
        typer.Option(
            help="ddp: each training GPU has the whole base. fsdp2: they share its weights"
            " (VALIGN_TRAINER_SHARDING).",
            metavar="KIND",
            rich_help_panel=_TRAINER,
        ),
    ] = "",
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing",
            help="Activations are computed again instead of kept: VALIGN_TRAINER_GRADIENT_CHECKPOINTING.",
            rich_help_panel=_TRAINER,
        ),
    ] = False,
    training_bits: Annotated[
        int | None,
        typer.Option(
            help="Bits of a base weight while training: 4 (VALIGN_TRAINER_QUANTIZATION=nf4), or 16 or 32"
            " (training.dtype of the study).",
            metavar="N",
            rich_help_panel=_TRAINER,
        ),
    ] = None,
    completion_tokens: Annotated[
        float | None, typer.Option(help="Mean tokens of a completion.", metavar="N", rich_help_panel=_SPEED)
    ] = None,
    tokens_per_s: Annotated[
        float | None,
        typer.Option(help="Completion tokens a second of all engines.", metavar="N", rich_help_panel=_SPEED),
    ] = None,
    scores_per_s: Annotated[
        float | None, typer.Option(help="Scored continuations a second.", metavar="N", rich_help_panel=_SPEED)
    ] = None,
    embeddings_per_s: Annotated[
        float | None, typer.Option(help="Embedded texts a second.", metavar="N", rich_help_panel=_SPEED)
    ] = None,
    examples_per_s: Annotated[
        float | None, typer.Option(help="Training examples a second.", metavar="N", rich_help_panel=_SPEED)
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no orchestrator: plan on this machine.")
    ] = False,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """See ``HELP``."""
    options: Json = {
        "shape": shape,
        "config": _config(model_config),
        "parameters": parameters or None,
        "device": device,
        "device_memory_gib": device_memory_gib,
        "gpus": gpus,
        "pipeline_gpus": pipeline_gpus,
        "copies": copies,
        "replicas": replicas,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "max_loras": max_loras,
        "max_lora_rank": max_lora_rank,
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
    # What is left out stays out: the plan takes it from what serves.
    asked = {name: value for name, value in options.items() if value not in (None, "")}
    if offline:
        found = _here(study, asked)
    else:
        try:
            found = _asked(url, study, asked)
        except UnreachableError as error:
            if not shape and model_config is None:
                error.remedy += " Or plan without one: say --shape or --model-config, or --offline."
                raise
            say(f"{error.message} The plan is made on this machine.", err=True)
            found = _here(study, asked)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found["fits"]:
        raise SystemExit(DOES_NOT_FIT)


def _asked(url: str, study: str, asked: Json) -> Json:
    """The orchestrator's plan."""
    with connect(url) as api:
        document = find_study(api, study)
        send_tasks(api, document)
        with about_document(document.name, document.text):
            found: Json = api.post_json("/plans", {"study": document.text, **asked})
            return found


def _here(study: str, asked: Json) -> Json:
    """This machine's plan. A name that is no file is that of a shipped study."""
    path = Path(study)
    if not path.is_file() and not path.suffix and "/" not in study:
        return plan_here(asked, study, {})
    document: StudyDocument = load_study(path)
    with about_document(document.name, document.text):
        return plan_here({"study": document.text, **asked}, "", document.tasks)


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
