"""``rulers``: runs frozen as the yardstick by which several models are measured."""

from typing import Annotated

import typer

from services.cli.api import Api, Json
from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json, say, table

_SHORTEST_PREFIX = 8
FREEZE_HELP = """Freeze a finished run as a ruler; freezing it again gives the same one.

Choose the benchmark with care: a model whose reference texts are good (its report says so under reference \
validity), since every other model is held to them.
"""


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    rulers = typer.Typer(
        help="Rulers: one benchmark run's principles, reference texts and embeddings, frozen under a content"
        " hash, so that several models are held to the same texts.",
        no_args_is_help=True,
    )
    rulers.command("freeze", help=FREEZE_HELP)(freeze)
    rulers.command("list")(list_)
    app.add_typer(rulers, name="rulers")


def freeze(
    run: RunArgument,
    name: Annotated[
        str, typer.Option(help="What people call it: lower-case letters, digits, '.', '-', '_'.")
    ],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Freeze a finished run as a ruler; freezing it again gives the same one."""
    with connect(url) as api:
        made = api.post_json("/rulers", {"run_id": api.run_id(run), "name": name})
    if as_json:
        print_json(made)
        return
    say(f"ruler {made['name']}: {made['inputs']} principles of {made['model']}, sha256 {made['sha256']}")
    say(f"Measure another model by it: valign measure STUDY --ruler {made['name']}")


def list_(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the rulers, newest first."""
    with connect(url) as api:
        body = {"rulers": api.all("/rulers", "rulers")}
    if as_json:
        print_json(body)
        return
    rows = [
        [
            one["name"],
            one["sha256"][:12],
            one["model"],
            one["reference_set"],
            one["prompt_set"],
            one["encoder"],
            str(one["inputs"]),
            one["create_time"][:10],
        ]
        for one in body["rulers"]
    ]
    heads = ["name", "sha256", "model", "reference set", "prompt set", "encoder", "principles", "frozen"]
    console().print(table("", heads, rows))


def find_ruler(api: Api, asked: str) -> Json:
    """Return the ruler of that name, sha256 or beginning of a sha256."""
    found: list[Json] = [
        one
        for one in api.all("/rulers", "rulers")
        if asked == one["name"] or (len(asked) >= _SHORTEST_PREFIX and one["sha256"].startswith(asked))
    ]
    if not found:
        raise CliError(
            f"There is no ruler {asked}.",
            remedy="See `valign rulers list`; make one with `valign rulers freeze RUN --name NAME`.",
            code="NOT_FOUND",
        )
    if len(found) > 1:
        listed = ", ".join(one["sha256"][:12] for one in found)
        raise CliError(
            f"{len(found)} rulers are called {asked}.",
            remedy=f"Name one by its sha256: {listed}.",
            code="CONFLICT",
        )
    return found[0]
