"""``monitors``: what serves is measured again on schedule, and drift raises an alarm."""

import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from services.cli.api import Json
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import console, print_json, say, table

_LOOK_S = 1.0
_OPEN = ("queued", "running")
MonitorArgument = Annotated[str, typer.Argument(help="Its id, as `valign monitors list` shows it.")]
LimitOption = Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    monitors = typer.Typer(
        help="Monitors: what serves is measured again on schedule, and drift raises an alarm.",
        no_args_is_help=True,
    )
    monitors.command("init")(init)
    monitors.command("create")(create)
    monitors.command("list")(list_)
    monitors.command("show")(show)
    monitors.command("pause")(pause)
    monitors.command("resume")(resume)
    monitors.command("delete")(delete)
    monitors.command("measure")(measure)
    monitors.command("measurements")(measurements)
    monitors.command("alarms")(alarms)
    monitors.command("samples")(samples)
    monitors.command("acknowledge")(acknowledge)
    app.add_typer(monitors, name="monitors")


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("monitor.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented monitor with its settings and their defaults."""
    if file.exists() and not force:
        raise CliError(f"{file} exists.", remedy="Use another name, or --force.", code="CONFLICT")
    # Through the top package: only the data file is read, and none of the orchestrator's code is imported.
    template = files("services") / "orchestrator/data/monitors/template.yaml"
    try:
        file.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{file} can't be written: {error.strerror}.") from error
    if as_json:
        print_json({"file": str(file)})
    else:
        say(f"Wrote {file}. Edit it, then: valign monitors create {file}")


def create(
    file: Annotated[Path, typer.Argument(help="The monitor, as YAML or JSON.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Watch a route or an endpoint from now on."""
    try:
        document = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} can't be read: {error}.") from error
    with connect(url) as api:
        made = api.post_json("/monitors", {"document": document})
    _print_monitor(made, as_json=as_json)


def list_(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the monitors, newest first, and how they stand."""
    with connect(url) as api:
        found = api.all("/monitors", "monitors", limit=1000)
    if as_json:
        print_json({"monitors": found})
        return
    rows = [
        [
            one["monitor_id"],
            one["name"],
            one["state"],
            one["route"] or one["endpoint"],
            one["schedule"],
            _when(one["next_time"]),
            _when(one["last_success_time"]),
        ]
        for one in found
    ]
    columns = ["monitor", "name", "state", "watches", "schedule", "next", "measured"]
    console().print(table("", columns, rows))


def show(monitor_id: MonitorArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show one monitor."""
    with connect(url) as api:
        found = api.get(_path(monitor_id))
    _print_monitor(found, as_json=as_json)


def pause(monitor_id: MonitorArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Measure no more on schedule."""
    with connect(url) as api:
        found = api.post_json(f"{_path(monitor_id)}/pause", {})
    _print_monitor(found, as_json=as_json)


def resume(monitor_id: MonitorArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Go on with the schedule's next moment."""
    with connect(url) as api:
        found = api.post_json(f"{_path(monitor_id)}/resume", {})
    _print_monitor(found, as_json=as_json)


def delete(monitor_id: MonitorArgument, url: UrlOption = "") -> None:
    """Remove a monitor with its measurements and alarms."""
    with connect(url) as api:
        api.delete(_path(monitor_id))
    say(f"monitor {monitor_id} is deleted.")


def measure(
    monitor_id: MonitorArgument,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for its end; 0: do not.", min=0)] = 0,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Measure now; with --wait-s ends with 1 if that failed, or showed drift."""
    with connect(url) as api:
        found = api.post_json(f"{_path(monitor_id)}/measure", {})
        until_s = time.monotonic() + wait_s
        while found["state"] in _OPEN and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
            found = api.get(f"{_path(monitor_id)}/measurements/{found['number']}")
    if as_json:
        print_json(found)
    else:
        became = found["outcome"] or found["state"]
        say(f"measurement {found['number']}: {became}. {found['message']}".rstrip())
        if found.get("live"):
            say(found["live"]["message"])
    bad = found["state"] == "failed" or found["outcome"] in ("drift", "identity")
    if wait_s and (bad or found["state"] in _OPEN):
        raise typer.Exit(1)


def measurements(
    monitor_id: MonitorArgument,
    limit: LimitOption = 50,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List what a monitor found, newest first."""
    with connect(url) as api:
        found = api.all(f"{_path(monitor_id)}/measurements", "measurements", limit=limit)
    if as_json:
        print_json({"measurements": found})
        return
    rows = [
        [
            str(one["number"]),
            one["kind"],
            _when(one["fire_time"]),
            one["outcome"] or one["state"],
            f"{one['p_value']:.4f}",
            _mean(one),
            one["message"],
        ]
        for one in found
    ]
    columns = ["number", "kind", "of", "outcome", "p", "value difference", "in words"]
    console().print(table("", columns, rows))


def alarms(
    monitor_id: MonitorArgument,
    limit: LimitOption = 50,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the alarms of a monitor, newest first."""
    with connect(url) as api:
        found = api.all(f"{_path(monitor_id)}/alarms", "alarms", limit=limit)
    if as_json:
        print_json({"alarms": found})
        return
    rows = [
        [
            str(one["number"]),
            one["kind"],
            one["state"],
            _when(one["raise_time"]),
            one["run_id"] or one["run_error"],
            one["message"],
        ]
        for one in found
    ]
    console().print(table("", ["number", "kind", "state", "raised", "run", "in words"], rows))


def samples(
    monitor_id: MonitorArgument,
    limit: LimitOption = 50,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the exchanges of people that a monitor keeps, redacted; newest first. Takes the scope admin."""
    with connect(url) as api:
        found = api.all(f"{_path(monitor_id)}/samples", "samples", limit=limit)
    if as_json:
        print_json({"samples": found})
        return
    rows = [
        [str(one["number"]), _when(one["end_time"]), one["adapter"] or "base", one["request"], one["answer"]]
        for one in found
    ]
    console().print(table("", ["number", "ended", "adapter", "asked", "answered"], rows))


def acknowledge(
    monitor_id: MonitorArgument,
    number: Annotated[int, typer.Argument(help="The alarm's number.", min=1)],
    comment: Annotated[str, typer.Option(help="What is done about it.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say that an alarm was seen. It clears by itself once what it told is over."""
    with connect(url) as api:
        seen = api.post_json(f"{_path(monitor_id)}/alarms/{number}/acknowledge", {"comment": comment})
    if as_json:
        print_json(seen)
    else:
        say(f"alarm {number} of monitor {monitor_id} is acknowledged.")


def _print_monitor(found: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    lines = [
        f"{found['monitor_id']}: {found['name']}, {found['state']}",
        f"  watches       {found['route'] or found['endpoint']}",
        f"  schedule      {found['schedule']} ({found['time_zone']})",
        f"  next          {_when(found['next_time'])}",
        f"  baseline      {found['baseline_number'] or 'none yet'}",
        f"  last success  {_when(found['last_success_time'])}",
        f"  made          {_when(found['create_time'])} by {found['create_by']}",
    ]
    if found["document"].get("live"):
        last = f", the last at {_when(found['live_last_time'])}" if found["live_last_time"] else ""
        lines.append(f"  live          {found['live_kept']} exchanges kept{last}")
    if found["live_error"]:
        lines.append(f"  live error    {found['live_error']}")
    if found["last_error"]:
        lines.append(f"  last error    {found['last_error']} ({found['failures']} in a row)")
    say("\n".join(lines))


def _path(monitor_id: str) -> str:
    return f"/monitors/{quote(monitor_id, safe='')}"


def _mean(one: Json) -> str:
    values = [topic["value"] for topic in one["by_topic"].values()]
    return f"{sum(values) / len(values):.3f}" if values else ""


def _when(time_text: str | None) -> str:
    return (time_text or "never")[:16].replace("T", " ")
