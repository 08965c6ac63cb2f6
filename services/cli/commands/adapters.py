"""``adapters`` and ``routes``: what was trained, and which of it speaks to the public."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from services.cli.api import Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.output import console, print_json, table

NameArgument = Annotated[str, typer.Argument(help="An adapter's name.")]
RouteOption = Annotated[str, typer.Option("--route", help="The public name.")]
RouteArgument = Annotated[str, typer.Argument(help="The public name.")]


def register(app: typer.Typer) -> None:
    """Add both command groups to ``app``."""
    adapters = typer.Typer(
        help="Adapters: what runs have trained, where each stands, and what may become of it.",
        no_args_is_help=True,
    )
    adapters.command("list")(list_)
    adapters.command("show")(show)
    adapters.command("approve")(approve)
    adapters.command("reject")(reject)
    adapters.command("promote")(promote)
    adapters.command("prune")(prune)
    app.add_typer(adapters, name="adapters")
    routes = typer.Typer(
        help="Routes: which adapter a public name serves, with a canary's share of the requests.",
        no_args_is_help=True,
    )
    routes.command("list")(list_routes)
    routes.command("show")(show_route)
    routes.command("canary")(canary)
    routes.command("rollback")(rollback)
    app.add_typer(routes, name="routes")


def list_(
    state: Annotated[
        str,
        typer.Option(help="Only this state: trained, proven, candidate, promoted, retired or rejected."),
    ] = "",
    run: Annotated[str, typer.Option(help="Only the adapters of this run.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the adapters, newest first."""
    with connect(url) as api:
        run_id = api.run_id(run) if run else ""
        found = api.all("/adapters", "adapters", limit=limit, state=state, run_id=run_id)
    if as_json:
        print_json({"adapters": found})
        return
    rows = [
        [
            one["name"],
            one["state"] + (" (pruned)" if one["prune_time"] else ""),
            one["arm"] or "-",
            "yes" if one["approval_required"] else "no",
            one["update_time"][:16].replace("T", " "),
            _first_line(one["reason"]),
        ]
        for one in found
    ]
    console().print(table("", ["name", "state", "arm", "approval", "changed", "reason"], rows))


def show(name: NameArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show an adapter: its history, who approved it, and where it is loaded."""
    with connect(url) as api:
        body = api.get(f"/adapters/{quote(name)}")
    if as_json:
        print_json(body)
        return
    adapter = body["adapter"]
    lines = {
        "name": adapter["name"],
        "state": adapter["state"],
        "reason": adapter["reason"],
        "run": f"{adapter['run_id']}, iteration {adapter['iteration']}"
        + (f" of arm {adapter['arm']}" if adapter["arm"] else ""),
        "begun by": adapter["created_by"],
        "approval": "needed" if adapter["approval_required"] else "not needed",
        "base": f"{adapter['base_model']} ({adapter['base_fingerprint'][:12]})",
        "rank": str(adapter["rank"]),
        "sha256": adapter["sha256"],
        "uri": adapter["uri"] + (f" (removed {adapter['prune_time'][:10]})" if adapter["prune_time"] else ""),
    }
    for key, value in lines.items():
        typer.echo(f"{key:<9}{value}")
    _print_rows(
        "history",
        ["when", "state", "who", "why"],
        [[_minute(one["time"]), one["state"], one["actor"], one["reason"]] for one in body["history"]],
    )
    _print_rows(
        "approvals",
        ["when", "who", "comment"],
        [[_minute(one["time"]), one["actor"], one["comment"]] for one in body["approvals"]],
    )
    _print_rows(
        "replicas",
        ["replica", "state", "attempts", "reason"],
        [[one["target"], one["state"], str(one["attempts"]), one["reason"]] for one in body["replicas"]],
    )


def approve(
    name: NameArgument,
    comment: Annotated[str, typer.Option(help="What there is to say about it.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Approve an adapter, as somebody other than who began its run."""
    _adapter_call(f"/adapters/{quote(name)}/approve", {"comment": comment}, "approved", url, as_json)


def reject(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="What is wrong with it.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say that an adapter must never be promoted."""
    _adapter_call(f"/adapters/{quote(name)}/reject", {"reason": reason}, "rejected", url, as_json)


def promote(
    name: NameArgument,
    route: RouteOption = "valign",
    override_reason: Annotated[
        str, typer.Option(help="Why an adapter that the gate holds is promoted all the same (admins only).")
    ] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make an adapter what a route serves, once every replica has proven it."""
    body = {"route": route, "override_reason": override_reason}
    _route_call(f"/adapters/{quote(name)}/promote", body, url, as_json)


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove the files of old adapters that nothing refers to."""
    with connect(url) as api:
        body = api.post_json(f"/adapters/prune?dry_run={'true' if dry_run else 'false'}", {})
    if as_json:
        print_json(body)
        return
    for name in body["pruned"]:
        typer.echo(name)
    typer.echo(f"{len(body['pruned'])} adapters {'would be' if dry_run else 'were'} pruned")


def list_routes(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the routes, and how far the replicas are."""
    with connect(url) as api:
        body = api.get("/routes")
    if as_json:
        print_json(body)
        return
    rows = [
        [
            one["name"],
            _served(one["adapter"]),
            _canary(one),
            one["state"],
            f"{sum(it['serving'] and it['version'] == one['version'] for it in one['replicas'])}"
            f" of {len(one['replicas'])}",
            str(one["version"]),
        ]
        for one in body["routes"]
    ]
    heads = ["route", "serves", "canary", "state", "replicas", "version"]
    console().print(table("", heads, rows, right=1))


def show_route(name: RouteArgument = "valign", url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show a route: what it serves, its replicas and its history."""
    with connect(url) as api:
        body = api.get(f"/routes/{quote(name)}")
    if as_json:
        print_json(body)
        return
    _print_route(body["route"])
    _print_rows(
        "history",
        ["version", "when", "who", "served", "canary", "why"],
        [
            [
                str(one["version"]),
                _minute(one["time"]),
                one["actor"],
                _served(one["adapter"]),
                _canary(one),
                one["reason"],
            ]
            for one in body["history"]
        ],
    )


def canary(
    share: Annotated[float, typer.Argument(help="Share of the requests, from 0 to 1; 0 ends the canary.")],
    adapter: Annotated[str, typer.Option(help="The adapter.")] = "",
    route: RouteOption = "valign",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Send a share of a route's requests to an adapter."""
    _route_call(f"/routes/{quote(route)}/canary", {"adapter": adapter, "share": share}, url, as_json)


def rollback(
    route: RouteArgument = "valign",
    to: Annotated[
        str | None, typer.Option(help="An adapter that it served before, or `base`. Default: the one before.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a route serve what it served before."""
    wanted = "" if to == "base" else to
    _route_call(f"/routes/{quote(route)}/rollback", {"to": wanted, "reason": reason}, url, as_json)


def _adapter_call(path: str, body: Json, done: str, url: str, as_json: bool) -> None:
    with connect(url) as api:
        adapter = api.post_json(path, body)
    if as_json:
        print_json(adapter)
        return
    typer.echo(f"{adapter['name']}: {done}; it is {adapter['state']}")


def _route_call(path: str, body: Json, url: str, as_json: bool) -> None:
    with connect(url) as api:
        route = api.post_json(path, body)
    if as_json:
        print_json(route)
        return
    _print_route(route)


def _print_route(route: Json) -> None:
    canary_ = _canary(route)
    with_canary = f", canary {canary_}" if canary_ != "-" else ""
    typer.echo(
        f"{route['name']} serves {_served(route['adapter'])}{with_canary} (version {route['version']}):"
        f" {route['state']}" + (f", {route['reason']}" if route["reason"] else "")
    )
    rows = [
        [
            one["target"],
            "yes" if one["serving"] else "no",
            str(one["version"]),
            _minute(one["seen_time"] or "-"),
            one["error"],
        ]
        for one in route["replicas"]
    ]
    _print_rows("replicas", ["replica", "answers", "version", "seen", "error"], rows)


def _print_rows(title: str, heads: list[str], rows: list[list[str]]) -> None:
    if rows:
        console().print(table(title, heads, rows))


def _served(adapter: str) -> str:
    return adapter or "the base model"


def _canary(route: dict[str, Any]) -> str:
    share = route["canary_share"]
    return f"{_served(route['canary_adapter'])} ({share:.1%})" if share else "-"


def _first_line(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= 60 else f"{line[:59]}…"


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
