"""``compare``: finished runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.comparison import print_comparison
from services.cli.errors import CliError
from services.cli.output import console, print_json

HELP = """Put runs side by side: several models on one reference set, or several sets on one model.

Runs that are no comparison are refused with every reason: another encoder, another prompt set, another \
ruler.

Several models should have been measured by one ruler (`valign rulers freeze`, `valign measure --ruler`): \
then they are also compared input by input, with an interval and a permutation test. Without a ruler each \
was held to texts of its own, and the comparison says so.
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(help=HELP)(compare)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Ids of finished runs, or `latest`.")
    ],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the comparison as a page to this file.")
    ] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put runs side by side: several models on one reference set, or several sets on one model."""
    with connect(url) as api:
        ids = {"run_ids": [api.run_id(run) for run in runs]}
        found = api.post_json("/compare", ids)
        if html is not None:
            _write(html, api.post_json_for_text("/compare.html", ids))
    if as_json:
        print_json(found)
        return
    print_comparison(found, console())
    if html is not None:
        typer.echo(f"Page: {html}")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} can't be written: {error.strerror}.") from error
