"""``webhooks``: other systems that are told what happens, as CloudEvents."""

import time
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from services.cli.api import Api, Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json, say, table

_PAGE = 200
_LOOK_S = 0.3
WebhookArgument = Annotated[str, typer.Argument(help="Its id, as `valign webhooks list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    webhooks = typer.Typer(
        help="Webhooks: other systems that are told what happens, as signed CloudEvents.",
        no_args_is_help=True,
    )
    webhooks.command("create")(create)
    webhooks.command("list")(list_)
    webhooks.command("show")(show)
    webhooks.command("update")(update)
    webhooks.command("rotate-secret")(rotate_secret)
    webhooks.command("delete")(delete)
    webhooks.command("test")(try_)
    webhooks.command("deliveries")(deliveries)
    webhooks.command("replay")(replay)
    webhooks.command("events")(events)
    app.add_typer(webhooks, name="webhooks")


def create(
    address: Annotated[str, typer.Argument(help="Where to send events: an https URL.")],
    types: Annotated[str, typer.Option("--events", help="Names or patterns, with commas.")] = "*",
    description: Annotated[str, typer.Option(help="A text for people.")] = "",
    paused: Annotated[bool, typer.Option(help="Begin paused.")] = False,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tell an address of events. Its secret is shown this once, alone on standard output."""
    asked = {"url": address, "event_types": _split(types), "description": description, "paused": paused}
    with connect(url) as api:
        made = api.post_json("/webhooks", asked)
    _print_secret(made, as_json=as_json)


def list_(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the webhooks, newest first, without their secrets."""
    with connect(url) as api:
        found = _pages(api, "/webhooks", "webhooks", limit=1000)
    if as_json:
        print_json({"webhooks": found})
        return
    rows = [
        [
            one["webhook_id"],
            urlsplit(one["url"]).netloc,
            ", ".join(one["event_types"]),
            one["state"],
            _when(one["last_success_time"]),
            str(one["pending"]),
            str(one["dead"]),
        ]
        for one in found
    ]
    columns = ["webhook", "host", "events", "state", "last success", "waiting", "dead"]
    console().print(table("", columns, rows, right=2))


def show(webhook_id: WebhookArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show one webhook."""
    with connect(url) as api:
        found = api.get(_path(webhook_id))
    _print_webhook(found, as_json=as_json)


def update(
    webhook_id: WebhookArgument,
    address: Annotated[str | None, typer.Option("--address", help="Another URL.")] = None,
    types: Annotated[str | None, typer.Option("--events", help="Other events, with commas.")] = None,
    description: Annotated[str | None, typer.Option(help="Another text.")] = None,
    paused: Annotated[bool | None, typer.Option("--pause/--resume", help="Stop sending, or go on.")] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change a webhook, pause it, or resume it (also one that is disabled)."""
    changes: Json = {"url": address, "description": description, "paused": paused}
    changes["event_types"] = None if types is None else _split(types)
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise CliError(
            "nothing to change was given.",
            remedy="Name --address, --events, --description, --pause or --resume.",
        )
    with connect(url) as api:
        changed = api.patch_json(_path(webhook_id), given)
    _print_webhook(changed, as_json=as_json)


def rotate_secret(
    webhook_id: WebhookArgument,
    overlap_hours: Annotated[
        float, typer.Option(help="Hours for which the present secret signs too.", min=0, max=720)
    ] = 24,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give a webhook another secret. It is shown this once, alone on standard output."""
    with connect(url) as api:
        asked = {"overlap_s": round(overlap_hours * 3600)}
        rotated = api.post_json(f"{_path(webhook_id)}/rotate-secret", asked)
    _print_secret(rotated, as_json=as_json)


def delete(webhook_id: WebhookArgument, url: UrlOption = "") -> None:
    """Remove a webhook with its deliveries and dead letters."""
    with connect(url) as api:
        api.delete(_path(webhook_id))
    say(f"webhook {webhook_id} is deleted.")


def try_(
    webhook_id: WebhookArgument,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for the first attempt.", min=0)] = 20,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send an event webhook.test and tell what came of it; ends with 1 unless the receiver took it."""
    with connect(url) as api:
        sent: Json = api.post_json(f"{_path(webhook_id)}/test", {})
        until_s = time.monotonic() + wait_s
        while sent["attempts"] == 0 and sent["state"] == "pending" and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
            page = api.get(f"{_path(webhook_id)}/deliveries", page_size=_PAGE)["deliveries"]
            sent = next((one for one in page if one["number"] == sent["number"]), sent)
    if as_json:
        print_json(sent)
    elif sent["state"] == "delivered":
        say(f"delivered: the receiver answered {sent['last_status']}.")
    elif sent["attempts"]:
        say(f"not delivered: {sent['last_error']}")
    else:
        say(f"not tried within {wait_s:g} s: does an orchestrator lead? See `valign doctor`.")
    if sent["state"] != "delivered":
        raise typer.Exit(1)


def deliveries(
    webhook_id: WebhookArgument,
    state: Annotated[str, typer.Option(help="Only pending, delivered or dead ones.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 50,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List what was, or will be, sent to a webhook, newest first; --state dead lists the dead letters."""
    with connect(url) as api:
        found = _pages(
            api, f"{_path(webhook_id)}/deliveries", "deliveries", limit, **({"state": state} if state else {})
        )
    if as_json:
        print_json({"deliveries": found})
        return
    rows = [
        [
            str(one["number"]),
            one["event_type"],
            one["subject"],
            _when(one["event_time"]),
            one["state"],
            str(one["attempts"]),
            one["last_error"] or (str(one["last_status"]) if one["last_status"] else ""),
        ]
        for one in found
    ]
    columns = ["number", "event", "about", "happened", "state", "tried", "last answer"]
    console().print(table("", columns, rows))


def replay(
    webhook_id: WebhookArgument,
    numbers: Annotated[
        list[int] | None, typer.Argument(help="Numbers of deliveries; none: every dead letter.")
    ] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send dead letters, or deliveries by their numbers, once more."""
    with connect(url) as api:
        body = api.post_json(f"{_path(webhook_id)}/replay", {"numbers": numbers or []})
    if as_json:
        print_json(body)
    else:
        say(f"{body['replayed']} wait to be sent again.")


def events(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the kinds of events that webhooks are told of."""
    with connect(url) as api:
        body = api.get("/event-types")
    if as_json:
        print_json(body)
        return
    rows = [[one["type"], one["description"]] for one in body["event_types"]]
    console().print(table("", ["event", "when"], rows))


def _pages(api: Api, path: str, name: str, limit: int, **params: str) -> list[Json]:
    found: list[Json] = []
    token = ""
    while len(found) < limit:
        asked: dict[str, Any] = {**params, "page_size": min(limit - len(found), _PAGE)}
        body = api.get(path, **asked, **({"page_token": token} if token else {}))
        found += body[name]
        token = body["next_page_token"]
        if not token:
            break
    return found


def _print_secret(made: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    one = made["webhook"]
    say(
        f"webhook {one['webhook_id']} ({urlsplit(one['url']).netloc}). Its secret is shown this once:",
        err=True,
    )
    say(made["secret"])


def _print_webhook(found: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    reason = f" ({found['state_reason']})" if found["state_reason"] else ""
    lines = [
        f"{found['webhook_id']}: {found['state']}{reason}",
        f"  to            {found['url']}",
        f"  events        {', '.join(found['event_types'])}",
        f"  description   {found['description']}",
        f"  made          {_when(found['create_time'])} by {found['create_by']}",
        f"  last success  {_when(found['last_success_time'])}",
        f"  waiting       {found['pending']}, dead letters {found['dead']}",
    ]
    if found["former_secret_expire_time"]:
        lines.append(f"  former secret signs too until {_when(found['former_secret_expire_time'])}")
    say("\n".join(lines))


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _when(time_text: str | None) -> str:
    return (time_text or "never")[:16].replace("T", " ")
