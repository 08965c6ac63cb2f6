"""``pause``, ``resume``, ``retry`` and ``steps``."""

from typing import Annotated

import typer

from services.cli.api import Json
from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.output import console, print_json, table


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (pause, resume, retry, steps):
        app.command()(command)


def pause(run: RunArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Stop a run where it is, until it is resumed. Training in progress goes on to its end."""
    with connect(url) as api:
        after = api.steer_run(api.run_id(run), "pause")
    _print(after, as_json=as_json)


def resume(run: RunArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Let a paused run go on."""
    with connect(url) as api:
        after = api.steer_run(api.run_id(run), "resume")
    _print(after, as_json=as_json)


def retry(
    run: RunArgument,
    from_step: Annotated[
        str,
        typer.Option("--from", help="A step that `valign steps` names. Default: the one that failed."),
    ] = "",
    max_tokens: Annotated[float | None, typer.Option(help="Another limit of tokens.")] = None,
    max_training_steps: Annotated[float | None, typer.Option(help="Another limit of steps.")] = None,
    max_gpu_s: Annotated[float | None, typer.Option(help="Another limit of GPU-seconds.")] = None,
    max_wall_s: Annotated[float | None, typer.Option(help="Another limit of seconds.")] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open a run that has ended again. What it drew and trained before is used again.

    A run that its budget has ended goes on from there, with a larger limit.
    """
    asked = {
        "from_step": from_step,
        "max_tokens": max_tokens,
        "max_training_steps": max_training_steps,
        "max_gpu_s": max_gpu_s,
        "max_wall_s": max_wall_s,
    }
    params = {name: str(value) for name, value in asked.items() if value not in (None, "")}
    with connect(url) as api:
        after = api.steer_run(api.run_id(run), "retry", **params)
    _print(after, as_json=as_json)


def steps(run: RunArgument = "latest", url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the steps that a run has recorded: where a retry can begin."""
    with connect(url) as api:
        found = api.get(f"/runs/{api.run_id(run)}/steps")
    if as_json:
        print_json(found)
        return
    rows = [[str(step["number"]), step["name"], step["error_code"] or "ok"] for step in found["steps"]]
    console().print(table("", ["step", "name", "outcome"], rows))


def _print(run: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    asked = " (pausing)" if run.get("pause_requested") and run["status"] != "paused" else ""
    typer.echo(f"run {run['run_id']}: {run['status']}{asked}")
