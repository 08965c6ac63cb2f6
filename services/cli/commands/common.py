"""Options that commands share."""

from typing import Annotated

import typer

from services.cli.api import Api
from services.cli.settings import load_settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; errors as problem JSON on stderr.")]
UrlOption = Annotated[
    str, typer.Option("--url", help="The orchestrator. Default: VALIGN_URL, or this machine.")
]
RunArgument = Annotated[str, typer.Argument(help="A run's id, or `latest`.")]


def connect(url: str) -> Api:
    """Return a connection to the orchestrator at ``url``, or where the settings say."""
    settings = load_settings()
    return Api(
        url.rstrip("/") or settings.url,
        settings.timeout_s,
        api_key=settings.api_key,
        ca_file=settings.ca_file,
    )
