"""``keys`` and ``whoami``: API keys, and who this command is to the orchestrator."""

from typing import Annotated
from urllib.parse import quote

import typer

from services.cli.api import Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.output import console, print_json, table

_DAY_S = 86_400


def register(app: typer.Typer) -> None:
    """Add the command group and ``whoami`` to ``app``."""
    keys = typer.Typer(
        help="API keys: what callers send to an orchestrator that asks for a credential.",
        no_args_is_help=True,
    )
    keys.command("create")(create)
    keys.command("list")(list_)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")
    app.command()(whoami)


def create(
    name: Annotated[str, typer.Option(help="What people call it, for example the program that uses it.")],
    scopes: Annotated[
        str, typer.Option(help="Of read, run, approve, promote, admin, infer, review; commas.")
    ] = "read",
    days: Annotated[int, typer.Option(help="Days until it ends.", min=1, max=3650)] = 90,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make an API key. It is shown this once, alone on standard output."""
    asked = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with connect(url) as api:
        made = api.post_json("/api-keys", {"name": name, "scopes": asked, "lifetime_s": days * _DAY_S})
    if as_json:
        print_json(made)
        return
    key = made["api_key"]
    typer.echo(
        f"key {key['key_id']} ({key['name']}: {', '.join(key['scopes'])}) until {key['expire_time'][:10]}."
        " It is shown this once:",
        err=True,
    )
    typer.echo(made["secret"])


def list_(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the API keys, newest first, without their secrets."""
    with connect(url) as api:
        body = {"api_keys": api.all("/api-keys", "api_keys")}
    if as_json:
        print_json(body)
        return
    rows = [
        [
            one["key_id"],
            one["name"],
            ", ".join(one["scopes"]),
            one["create_by"],
            _state(one),
            (one["last_use_time"] or "never")[:16].replace("T", " "),
        ]
        for one in body["api_keys"]
    ]
    console().print(table("", ["key", "name", "scopes", "made by", "state", "last used"], rows))


def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `valign keys list` shows it.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """End an API key at once."""
    with connect(url) as api:
        body = api.post_json(f"/api-keys/{quote(key_id, safe='')}/revoke", {})
    if as_json:
        print_json(body)
    else:
        typer.echo(f"key {body['key_id']} ({body['name']}) is revoked since {body['revoke_time'][:16]}.")


def whoami(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show who this command is to the orchestrator, and what it may do."""
    with connect(url) as api:
        body = api.get("/caller")
    if as_json:
        print_json(body)
    else:
        typer.echo(f"{body['name']}: {', '.join(body['scopes']) or 'no scopes'}")


def _state(key: Json) -> str:
    if key["revoke_time"]:
        return f"revoked {key['revoke_time'][:10]}"
    return f"until {key['expire_time'][:10]}" if key["expire_time"] else "does not end"
