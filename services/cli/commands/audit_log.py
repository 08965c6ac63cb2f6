"""``audit``: who did what, and whether that was changed since. Bundles of runs are in ``audit``."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from services.cli.api import Api
from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import print_json
from services.common.hash_chain import Anchor, Verdict, read_lines, verify

_PATH = "/audit-log"
_POLL_S = 2.0
_KNOWN = re.compile(r"([1-9][0-9]{0,18}):([0-9a-f]{64})")
AfterOption = Annotated[int, typer.Option("--after", min=0, help="Only entries after this number.")]


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    audit = typer.Typer(help="The audit log: who did what.", no_args_is_help=True)
    for name, command in (("log", show), ("export", export), ("verify", check)):
        audit.command(name)(command)
    app.add_typer(audit, name="audit")


def show(
    after: AfterOption = 0,
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0 for all.")] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new entries as they come.")
    ] = False,
    actor: Annotated[str, typer.Option("--by", help="Only what this principal did.")] = "",
    action: Annotated[str, typer.Option(help="Only this, for example adapter.promote.")] = "",
    target: Annotated[str, typer.Option(help="Only what was done to the thing with this id.")] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the log's entries, oldest first. With --json each is a line of JSON, as `export` writes it."""
    asked = {"actor": actor, "action": action, "target": target}
    where = {name: value for name, value in asked.items() if value}
    with connect(url) as api:
        while True:
            for line in api.lines(_PATH, after=after, limit=limit, **where):
                entry = json.loads(line)
                after = entry["sequence"]
                typer.echo(line if as_json else _words(entry))
            if not follow:
                return
            time.sleep(_POLL_S)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write the whole log as JSON lines, checked while it is written; 1 if it is broken."""
    part = file.with_name(f".{file.name}.part")
    try:
        with connect(url) as api, part.open("w", encoding="utf-8") as out:
            lines = _copied(api, out)
            verdict = verify(read_lines(lines))
            # The check ends at the first fault; the export does not.
            for _ in lines:
                pass
        part.replace(file)
    except OSError as error:
        raise CliError(f"{file} can't be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)
    _tell(verdict, str(file), as_json)


def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="An exported log; without it, the orchestrator's.")
    ] = None,
    known: Annotated[
        str, typer.Option("--known", help="NUMBER:SHA256 of an entry, as you noted it elsewhere.")
    ] = "",
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Find an entry that was altered, removed, added or moved; 1 if there is one. FILE needs no server.

    A log that was cut at its end, or written anew as a whole, holds together by itself: only an entry that
    was noted elsewhere shows it. `export` and `verify` print the last one; the orchestrator's own log has it
    each hour.
    """
    anchor = _anchor(known)
    if file is not None:
        try:
            with file.open("rb") as lines:
                verdict = verify(read_lines(lines), [anchor] if anchor else [])
        except OSError as error:
            raise CliError(f"{file} can't be read: {error.strerror or error}.") from error
        _tell(verdict, str(file), as_json)
        return
    params: dict[str, str | int] = {}
    if anchor:
        params = {"known_sequence": anchor.sequence, "known_sha256": anchor.sha256}
    with connect(url) as api:
        found = api.get(f"{_PATH}/verify", **params)
    _tell(Verdict(**{name: found[name] for name in Verdict.__slots__}), "the audit log", as_json)


def _copied(api: Api, out: IO[str]) -> Iterator[str]:
    for line in api.lines(_PATH):
        out.write(line + "\n")
        yield line


def _anchor(known: str) -> Anchor | None:
    if not known:
        return None
    match = _KNOWN.fullmatch(known)
    if match is None:
        raise CliError(
            f"--known must be NUMBER:SHA256, for example 120:{'0' * 64}, not {known[:80]!r}.", exit_code=2
        )
    return Anchor(int(match[1]), match[2])


def _tell(verdict: Verdict, what: str, as_json: bool) -> None:
    if as_json:
        print_json({name: getattr(verdict, name) for name in Verdict.__slots__})
    elif verdict.intact:
        typer.echo(f"{what}: {verdict.entries} entries, unbroken")
        if verdict.entries:
            typer.echo(f"Note elsewhere: {verdict.entries}:{verdict.head_sha256}")
    else:
        typer.echo(f"{what} is BROKEN at entry {verdict.broken_at}: {verdict.reason}")
    if not verdict.intact:
        raise typer.Exit(1)


def _words(entry: Mapping[str, Any]) -> str:
    details = "" if entry["details"] == "{}" else f"  {entry['details']}"
    line = (
        f"{entry['sequence']:>6}  {entry['time']}  {entry['actor']}  {entry['action']}"
        f"  {entry['target_kind']} {entry['target']}{details}"
    )
    # Names come from people: no control character of theirs reaches the terminal.
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
