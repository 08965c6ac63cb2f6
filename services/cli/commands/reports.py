"""``report``: a finished run's numbers, as a table, JSON or the HTML page."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json
from services.cli.results import print_report


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(report)


def report(
    run: RunArgument = "latest",
    html: Annotated[Path | None, typer.Option("--html", help="Write the HTML report to this file.")] = None,
    model_card: Annotated[
        Path | None, typer.Option("--model-card", help="Write the adapter's model card to this file.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML report in a browser.")] = False,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print a finished run's result table; write its HTML report or its adapter's model card."""
    with connect(url) as api:
        run_id = api.run_id(run)
        body = api.get(f"/runs/{run_id}/report")
        if html is not None:
            _write(html, api.get_text(f"/runs/{run_id}/report.html"))
        if model_card is not None:
            _write(model_card, api.get_text(f"/runs/{run_id}/model-card"))
        page = html.resolve().as_uri() if html else f"{api.url}/v1/runs/{run_id}/report.html"
    if as_json:
        print_json(body)
    else:
        print_report(body, console())
        typer.echo(f"HTML report: {html or page}")
        if model_card is not None:
            typer.echo(f"Model card: {model_card}")
    if open_ and not webbrowser.open(page):
        raise CliError(f"No browser could be opened; the report is at {page}.")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} can't be written: {error.strerror}.") from error
