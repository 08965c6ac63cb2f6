"""``assets``: files that studies name by their sha256, such as task files."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.api import Api, Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.documents import StudyDocument
from services.cli.errors import CliError, about_document
from services.cli.output import console, print_json, say, table
from services.cli.task_files import asset_name, read_bytes

TASK = "task"
KindOption = Annotated[str, typer.Option("--kind", help="What it is for, for example `task`.")]
AssetArgument = Annotated[str, typer.Argument(help="Its sha256, or the beginning of it, as `list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    assets = typer.Typer(help="Files that studies name by their sha256.", no_args_is_help=True)
    for name, command in (("add", add), ("list", list_), ("show", show), ("get", get)):
        assets.command(name)(command)
    app.add_typer(assets, name="assets")


def add(
    file: Annotated[Path, typer.Argument(help="The file.")],
    kind: KindOption = TASK,
    name: Annotated[str, typer.Option("--name", help="A label. Default: from the file's name.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check a file and keep it. The same content again changes nothing."""
    with connect(url) as api:
        kept = send(api, kind, name or asset_name(file), file)
    if as_json:
        print_json(kept)
    else:
        say(f"{kept['kind']} {kept['name']}: {kept['sha256']} ({kept['size_bytes']} bytes)")


def list_(
    kind: Annotated[str, typer.Option("--kind", help="Only this kind.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List what is kept, newest first."""
    with connect(url) as api:
        body = {"assets": api.all("/assets", "assets", kind=kind)}
    if as_json:
        print_json(body)
        return
    rows = [
        [one["sha256"], one["kind"], one["name"], str(one["size_bytes"]), _when(one)]
        for one in body["assets"]
    ]
    console().print(table("", ["sha256", "kind", "name", "bytes", "added"], rows))


def show(sha256: AssetArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show what an asset is."""
    with connect(url) as api:
        found = api.get(f"/assets/{whole_sha256(api, sha256)}")
    if as_json:
        print_json(found)
        return
    lines = {"sha256": found["sha256"], "kind": found["kind"], "name": found["name"]}
    for label, value in {**lines, "bytes": found["size_bytes"], "added": _when(found)}.items():
        say(f"{label:<8} {value}")


def get(
    sha256: AssetArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write an asset's bytes to a file."""
    with connect(url) as api:
        digest = whole_sha256(api, sha256)
        data = api.get_bytes(f"/assets/{digest}/content")
    try:
        output.write_bytes(data)
    except OSError as error:
        raise CliError(f"{output} can't be written: {error.strerror}.") from error
    if as_json:
        print_json({"file": str(output), "sha256": digest, "size_bytes": len(data)})
    else:
        typer.echo(f"Wrote {output} ({len(data)} bytes).")


def send(api: Api, kind: str, name: str, file: Path) -> Json:
    """Send a file; an error names the file and its line."""
    data = read_bytes(file)
    with about_document(str(file), data.decode(errors="replace")):
        return api.add_asset(kind, name, data)


def send_tasks(api: Api, document: StudyDocument) -> None:
    """Send the task files that a study names, so that it can name them by their sha256."""
    for name, file in document.tasks.items():
        send(api, TASK, name, file)


def whole_sha256(api: Api, begun: str) -> str:
    """Return the sha256 that begins so. ``CliError`` if none does, or more than one."""
    if len(begun) == 64:
        return begun
    found = [one["sha256"] for one in api.all("/assets", "assets") if one["sha256"].startswith(begun)]
    if len(found) != 1:
        several = f"{len(found)} assets begin" if found else "No asset begins"
        raise CliError(
            f"{several} with {begun!r}.", remedy="`valign assets list` shows them whole.", code="NOT_FOUND"
        )
    return str(found[0])


def _when(asset: Json) -> str:
    return str(asset.get("create_time") or "")[:19].replace("T", " ")
