"""``run``, ``watch``, ``runs``, ``show`` and ``cancel``."""

import sys
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.api import Api, Json
from services.cli.commands.assets import send_tasks
from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.documents import StudyDocument, load_study, read_text
from services.cli.errors import CliError, about_document
from services.cli.output import console, dumps, one_line, print_json, say, table
from services.cli.progress import RunState
from services.cli.results import print_report
from services.cli.verdict import decision
from services.cli.watch import display_for, follow

INTERRUPTED = 130
NOT_PROMOTED = 3


class Requirement(StrEnum):
    """What a pipeline can ask of a run's verdict."""

    PROMOTE = "promote"


RequireOption = Annotated[
    Requirement | None,
    typer.Option(
        "--require",
        help="Exit with 3 unless the run ends in this verdict. Without it any verdict exits with 0.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (run, watch, runs, show, cancel):
        app.command()(command)


def run(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study such as `demo`.")
    ],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start the run and return.")] = False,
    idempotency_key: Annotated[
        str, typer.Option(help="The same key and study give the same run. Default: a new key.")
    ] = "",
    require: RequireOption = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run a study and watch it to its end. Ctrl-C stops watching, never the run."""
    if detach and require:
        raise typer.BadParameter("a run that is not watched has no verdict yet; drop --detach or --require")
    with connect(url) as api:
        created = begin(api, find_study(api, study), idempotency_key)
        if not detach:
            raise SystemExit(watch_to_end(api, created, require, as_json=as_json))
        print_begun(created, as_json=as_json)


def watch(
    run: RunArgument = "latest",
    require: RequireOption = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Watch a run to its end."""
    with connect(url) as api:
        raise SystemExit(watch_to_end(api, api.run(run), require, as_json=as_json))


def runs(
    status: Annotated[
        str, typer.Option(help="Only queued, running, paused, succeeded, failed or cancelled runs.")
    ] = "",
    name: Annotated[str, typer.Option(help="Only runs of studies with exactly this name.")] = "",
    by: Annotated[str, typer.Option(help="Only runs that this principal began, for example key:ci.")] = "",
    since: Annotated[
        str, typer.Option(help="Only runs since this moment, for example 2026-11-21T00:00:00Z.")
    ] = "",
    reference_set: Annotated[str, typer.Option(help="Only runs against this reference set.")] = "",
    verdict: Annotated[str, typer.Option(help="Only runs that ended in promote, hold or reject.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 20,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    filters = {
        "name": name,
        "created_by": by,
        "created_after": since,
        "reference_set": reference_set,
        "verdict": verdict,
    }
    with connect(url) as api:
        found = api.runs(status=status, limit=limit, **filters)
    if as_json:
        print_json({"runs": found})
        return
    rows = [[one["run_id"], one["name"], one["status"], one["stage"] or "", _when(one)] for one in found]
    console().print(table("", ["run", "name", "status", "stage", "created"], rows))


def show(run: RunArgument = "latest", url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show where a run stands."""
    with connect(url) as api:
        found = api.run(run)
    if as_json:
        print_json(found)
        return
    lines = {
        "run": found["run_id"],
        "name": found["name"],
        "status": found["status"],
        "stage": found.get("stage") or "-",
        "identity": found.get("identity") or "-",
        "created": _when(found),
        "ended": str(found.get("end_time") or "-"),
    }
    for stage, part in (found.get("progress") or {}).items():
        lines[f"  {stage}"] = f"{part.get('done')}/{part.get('total')}"
    if found.get("error"):
        lines["error"] = f"{found['error'].get('message')} ({found['error'].get('code')})"
    for name, value in lines.items():
        say(one_line(f"{name:<12} {value}"))


def cancel(run: RunArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Ask a run to stop. What it has stored so far stays."""
    with connect(url) as api:
        after = api.cancel_run(api.run_id(run))
    if as_json:
        print_json(after)
    else:
        say(f"run {after['run_id']}: {after['status']}")


def begin(api: Api, document: StudyDocument, idempotency_key: str = "") -> Json:
    """Begin a run of a study; an error points into the file that it is about."""
    if "reference_set" in document.files:
        # checked on its own first, so that an error points into the set's own file
        file = document.files["reference_set"]
        text = read_text(file)
        with about_document(str(file), text):
            api.post_document("/reference-sets/check", text)
    send_tasks(api, document)
    with about_document(document.name, document.text):
        return api.create_run(document.text, idempotency_key or str(uuid.uuid4()))


def print_begun(run: Json, *, as_json: bool) -> None:
    """Say that a run has begun which nobody watches here."""
    if as_json:
        print_json(run)
    else:
        say(f"run {run['run_id']} {run['status']}; valign watch {run['run_id']}")


def find_study(api: Api, study: str) -> StudyDocument:
    """Return the study in a file, or the shipped one of that name."""
    path = Path(study)
    if path.is_file():
        return load_study(path)
    if path.suffix or "/" in study:
        raise CliError(
            f"There is no study file {study}.", remedy="Write one with `valign init`.", code="NOT_FOUND"
        )
    return StudyDocument(study, shipped_study(api, study), {})


def shipped_study(api: Api, name: str) -> str:
    """Return a shipped study's YAML text."""
    return api.get_text(f"/studies/shipped/{name}")


def _when(run: Json) -> str:
    return str(run.get("create_time") or "")[:19].replace("T", " ")


def watch_to_end(api: Api, run: Json, require: Requirement | None = None, *, as_json: bool) -> int:
    """Follow a run on the screen and return the exit status that tells how it ended."""
    state = RunState(run["run_id"], name=run.get("name", ""))
    try:
        if as_json:
            # one event a line as it comes, and the run as the last line
            ended = follow(api, state, _print_line, lambda note: print(note, file=sys.stderr))
            _print_line(ended)
        else:
            typer.echo(f"run {state.run_id}")
            with display_for(state) as display:
                ended = follow(api, state, display.event, display.note)
            _print_end(api, ended)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nStopped watching; run {state.run_id} goes on.\n"
            f"Watch again: valign watch {state.run_id}\nCancel it:   valign cancel {state.run_id}\n"
        )
        return INTERRUPTED
    if ended["status"] != "succeeded":
        return 1
    return _held_to(api, ended, require) if require else 0


def _held_to(api: Api, run: Json, require: Requirement) -> int:
    found = decision(api.get(f"/runs/{run['run_id']}/report"))
    if found == require:
        return 0
    sys.stderr.write(f"run {run['run_id']}: {require} was required, the verdict is {found or 'none'}\n")
    return NOT_PROMOTED


def _print_line(value: Any) -> None:
    print(dumps(value), flush=True)


def _print_end(api: Api, run: Json) -> None:
    if run["status"] == "succeeded":
        print_report(api.get(f"/runs/{run['run_id']}/report"), console())
        typer.echo(f"Whole report: valign report {run['run_id']} --html report.html")
        return
    error = run.get("error") or {}
    reason = f": {error['message']} ({error.get('code')})" if error.get("message") else ""
    say(f"run {run['run_id']} {run['status']}{reason}", err=True)
