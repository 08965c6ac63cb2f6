"""``init``: a commented study to begin with."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from services.cli.commands.common import JsonOption
from services.cli.errors import CliError
from services.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(init)


def template() -> str:
    """Return the shipped template.

    It is read from the orchestrator's data folder, so that it works with no server running and
    exists once. Only the data file is read: none of the orchestrator's code is imported.
    """
    # through the top package: naming services.orchestrator.data would run its __init__ modules
    return (files("services") / "orchestrator/data/studies/template.yaml").read_text(encoding="utf-8")


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented study with every setting and its default."""
    if file.exists() and not force:
        raise CliError(f"{file} exists.", remedy="Use another name, or --force.", code="CONFLICT")
    try:
        file.write_text(template(), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} can't be written: {error.strerror}.") from error
    if as_json:
        print_json({"file": str(file)})
    else:
        typer.echo(f"Wrote {file}. Edit it, then: valign run {file}")
