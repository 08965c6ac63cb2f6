"""``measure``: where a model stands, without training anything."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.commands.rulers import find_ruler
from services.cli.commands.runs import begin, find_study, print_begun, watch_to_end
from services.cli.documents import with_settings
from services.cli.errors import CliError

HELP = """Measure whose values a model speaks with; nothing is trained and there is no verdict.

The report says how far the model's principles lie from those of the reference set, how much of that the \
prompt alone moves, and, for an endpoint, what could not be controlled. The study's training settings are \
passed over.

The key of an endpoint is never given here: it is a setting of the orchestrator, by host \
(VALIGN_ORCHESTRATOR_ENDPOINT_KEYS='{"api.example.org": "..."}').

Examples:

valign measure demo

valign measure demo --endpoint https://api.example.org/v1 --model their-model

valign measure demo --ruler benchmark-2026
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(help=HELP)(measure)


def measure(
    study: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped study such as `demo`.")
    ],
    endpoint: Annotated[
        str,
        typer.Option(
            help="Measure a model behind an OpenAI-compatible API instead of the generator's: its base URL,"
            " the part before /chat/completions, for example https://api.example.org/v1."
        ),
    ] = "",
    model: Annotated[str, typer.Option(help="The model's name at the endpoint.")] = "",
    ruler: Annotated[
        str,
        typer.Option(
            help="Measure against a frozen benchmark's texts (name or sha256; `valign rulers list`), not"
            " against texts that the model writes itself. Needed to compare models."
        ),
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start the run and return.")] = False,
    idempotency_key: Annotated[
        str, typer.Option(help="The same key and study give the same run. Default: a new key.")
    ] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Measure whose values a model speaks with; nothing is trained and there is no verdict."""
    settings: dict[str, Any] = {"measure_only": True}
    if endpoint or model:
        settings["endpoint"] = _endpoint(endpoint, model)
    with connect(url) as api:
        if ruler:
            settings["ruler"] = find_ruler(api, ruler)["sha256"]
        created = begin(api, with_settings(find_study(api, study), settings), idempotency_key)
        if not detach:
            raise SystemExit(watch_to_end(api, created, as_json=as_json))
        print_begun(created, as_json=as_json)


def _endpoint(endpoint: str, model: str) -> dict[str, str]:
    if not endpoint:
        raise typer.BadParameter("--model names a model at an endpoint; give --endpoint too")
    if not model:
        raise typer.BadParameter("--endpoint needs --model: the model's name there")
    parts = urlsplit(endpoint)
    if "@" in parts.netloc or parts.query:
        # never repeated: what stands there may be a secret
        raise CliError(
            "The endpoint's URL must hold no user, password or query.",
            remedy="Set its key in VALIGN_ORCHESTRATOR_ENDPOINT_KEYS of the orchestrator, by host.",
            code="INVALID_INPUT",
        )
    return {"url": endpoint, "model": model}
