"""``values``: the ten basic values, heads trained on labels, and how well the judge agrees with labels."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.api import Api, Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json, table
from services.cli.task_files import asset_name, read_bytes

_POLL_S = 0.5
_STAGES = {"embed": "embedding texts", "fit": "fitting values", "judge": "judging dialogues"}
FileArgument = Annotated[
    Path, typer.Argument(help="Labelled dialogues: JSON Lines in FULCRA's published format.")
]
NameOption = Annotated[str, typer.Option("--name", help="A label. Default: from the file's name.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of what is drawn.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    values = typer.Typer(help="The value space: ten basic values and their evaluators.", no_args_is_help=True)
    values.command("list")(list_)
    values.command("train")(train)
    values.command("evaluate")(evaluate)
    values.command("show")(show)
    app.add_typer(values, name="values")


def list_(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show the ten values as the judge is told of them."""
    with connect(url) as api:
        body = api.get("/values")
    if as_json:
        print_json(body)
        return
    rows = [[one["id"], one["definition"]] for one in body["values"]]
    console().print(table("", ["value", "definition"], rows))


def train(
    file: FileArgument,
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.05, max=0.5, help="Share of the rows to hold out.")
    ] = 0.25,
    text: Annotated[
        str, typer.Option("--text", help="What is embedded: the `reply`, or the whole `dialogue`.")
    ] = "reply",
    seed: SeedOption = 0,
    name: NameOption = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Train a head on labelled dialogues, and say how well it agrees with those held out.

    A study names the head by the sha256 that is printed. Ctrl-C stops waiting, not the training.
    """
    params = {"name": name or asset_name(file), "seed": seed, "held_out": held_out, "text": text}
    _follow(file, "/values/heads", params, url, as_json=as_json)


def evaluate(
    file: FileArgument,
    judge: Annotated[bool, typer.Option("--judge", help="Measure the generator as a judge.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Dialogues at most; each costs 30 scores.")
    ] = 300,
    calibrate: Annotated[
        bool, typer.Option(help="Divide the judge's answers by those to content-free questions.")
    ] = True,
    seed: SeedOption = 0,
    name: NameOption = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Measure how well the judge agrees with labelled dialogues.

    A study names the result under `values.agreement`. Ctrl-C stops waiting, not the measuring.
    """
    if not judge:
        raise CliError(
            "Say which evaluator to measure.",
            remedy="Measure the generator as a judge with --judge; a head is measured when it is trained.",
            exit_code=2,
            code="INVALID_INPUT",
        )
    params = {
        "name": name or asset_name(file),
        "seed": seed,
        "limit": limit,
        "calibrate": str(calibrate).lower(),
    }
    _follow(file, "/values/evaluations", params, url, as_json=as_json)


def show(
    head: Annotated[str, typer.Argument(help="A head's sha256, or its job's id.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a head: what it was trained on, and how well it agrees with held-out labels."""
    with connect(url) as api:
        job = api.get(f"/values/heads/{head}")
    _tell_result(job, as_json=as_json)


def _follow(file: Path, path: str, params: dict[str, Any], url: str, *, as_json: bool) -> None:
    """Send the file, wait for the job's end with its progress on stderr, and print what came of it."""
    data = read_bytes(file)
    with connect(url) as api:
        job = api.post_file(path, data, params)
        job = wait(api, f"{path}/{job['id']}", job, _tell_progress)
    if job["state"] == "failed":
        raise CliError(f"The job failed: {job['error']['message']}", code=job["error"]["code"])
    _tell_result(job, as_json=as_json)


def wait(
    api: Api, path: str, job: Json, tell: Callable[[Json], None], sleep: Callable[[float], None] = time.sleep
) -> Json:
    """Ask for the job until it has ended; ``tell`` gets every answer."""
    tell(job)
    while job["state"] not in ("succeeded", "failed"):
        sleep(_POLL_S)
        job = api.get(path)
        tell(job)
    return job


def _tell_progress(job: Json) -> None:
    if not sys.stderr.isatty():
        return
    what = _STAGES.get(job["stage"], "waiting for another job" if job["state"] == "queued" else "starting")
    done = f" {job['done']} of {job['total']}" if job["total"] else ""
    end = "\r\x1b[K" if job["state"] in ("succeeded", "failed") else ""
    sys.stderr.write(end or f"\r\x1b[K{what}{done}")
    sys.stderr.flush()


def _tell_result(job: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    screen = console()
    if job["labels"]:
        screen.print("\n".join(label_lines(job["labels"])), markup=False)
    screen.print(agreement_table(job))
    what = "head" if job["kind"] == "head" else "agreement of the judge"
    key = "head" if job["kind"] == "head" else "agreement"
    screen.print(f"{what} {job['name']}: {job['sha256']}", markup=False)
    screen.print(f"evaluator: {job['evaluator']} ({job['fingerprint'][:12]}…)", markup=False)
    if job["sha256"]:
        kind = "head" if job["kind"] == "head" else "judge"
        screen.print(f"In a study: values: {{evaluator: {kind}, {key}: {job['sha256']}}}", markup=False)


def label_lines(labels: Json) -> list[str]:
    """What was found in the file, and what became of it; only what there was."""
    lines = [f"{labels['rows']} dialogues used of {labels['lines']} lines."]
    if labels["refused"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in labels["refused"].items())
        lines.append(f"Left out: {reasons}.")
    if labels["duplicates"]:
        lines.append(f"Repeated lines, counted once: {labels['duplicates']}.")
    for key, text in (
        ("contradictions", "Labelled in two ways, so unknown there"),
        ("unreadable", "Labels that are none of +1, 0, -1, so unknown there"),
        ("unknown_values", "Names that are none of the ten values, left out"),
    ):
        if labels[key]:
            counts = ", ".join(f"{name} {count}" for name, count in labels[key].items())
            lines.append(f"{text}: {counts}.")
    if labels["respelled_labels"]:
        lines.append(f"Labels read though spelled otherwise: {labels['respelled_labels']}.")
    if labels["repeated_labels"]:
        lines.append(f"Labels given twice in a row of the file: {labels['repeated_labels']}.")
    return lines


def agreement_table(job: Json) -> Any:
    """Agreement with held-out labels, one row a value."""
    rows = []
    for one in job["agreement"]:
        counts = "/".join(str(one["labels"].get(answer, 0)) for answer in ("important", "none", "opposed"))
        if one["status"] != "measured":
            rows.append([one["value"], counts, "–", "–", "–", f"not spoken of: {one['reason']}"])
            continue
        note = "" if one["above_chance"] else "no better than chance"
        rows.append(
            [
                one["value"],
                counts,
                f"{one['accuracy']['value']:.2f} ({one['majority']:.2f})",
                _interval(one["balanced_accuracy"]),
                _interval(one["kappa"]),
                note,
            ]
        )
    heads = ["value", "held out +/0/-", "accuracy (majority)", "balanced accuracy", "kappa", ""]
    return table("Agreement with held-out labels", heads, rows)


def _interval(estimate: Json) -> str:
    ends = "" if estimate["low"] is None else f" ({estimate['low']:.2f} to {estimate['high']:.2f})"
    return f"{estimate['value']:.2f}{ends}"
