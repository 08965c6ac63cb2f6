"""``refs``, ``prompts`` and ``studies``: the data that the orchestrator ships."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.commands.common import JsonOption, UrlOption, connect
from services.cli.commands.runs import shipped_study
from services.cli.documents import read_text
from services.cli.errors import about_document
from services.cli.output import console, print_json, say, table

_RUN_ID = re.compile(r"r-\d{8}-[0-9a-z]{6}")

IdArgument = Annotated[str, typer.Argument(help="Its id, as `list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the command groups to ``app``."""
    refs = typer.Typer(help="Reference value sets.", no_args_is_help=True)
    refs.command("list")(refs_list)
    refs.command("show")(refs_show)
    refs.command("check")(refs_check)
    refs.command("diff")(refs_diff)
    prompts = typer.Typer(help="Prompt sets.", no_args_is_help=True)
    prompts.command("list")(prompts_list)
    prompts.command("show")(prompts_show)
    studies = typer.Typer(help="Shipped studies.", no_args_is_help=True)
    studies.command("list")(studies_list)
    studies.command("show")(studies_show)
    for name, group in (("refs", refs), ("prompts", prompts), ("studies", studies)):
        app.add_typer(group, name=name)


def refs_list(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the packaged reference sets."""
    _list(
        "/reference-sets",
        "reference_sets",
        ("id", "version", "title", "steward", "review_date", "warnings"),
        url,
        as_json,
    )


def refs_show(id_: IdArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show a reference set: its principles, and which belong to which topic."""
    _show(f"/reference-sets/{id_}", url, as_json)


def refs_check(
    file: Annotated[Path, typer.Argument(help="A reference set as a YAML file.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check your own reference set; errors name the file, line and column."""
    text = read_text(file)
    with connect(url) as api, about_document(str(file), text):
        checked = api.post_document("/reference-sets/check", text)
    if as_json:
        print_json(checked)
    else:
        typer.echo(f"{file}: a valid reference set.")


def refs_diff(
    old: Annotated[str, typer.Argument(help="A packaged id, a run's id, or a YAML file.")],
    new: Annotated[str, typer.Argument(help="The same, for the newer version.")],
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Compare two versions of a reference set: governance, principles, topics.

    A run's id stands for the set as that run used it, whatever is packaged today.
    """
    request = {"old": _source(old), "new": _source(new)}
    with connect(url) as api:
        found = api.post_json("/reference-sets/diff", request)
    if as_json:
        print_json(found)
        return
    say(f"{found['old']} -> {found['new']}")
    for part in ("governance", "principles", "topics"):
        for change in found[part]:
            say(f"  {change['kind']:<8} {change['what']}")
            for sign, text in (("-", change["old"]), ("+", change["new"])):
                if text is not None:
                    say(f"    {sign} {text}")
    for line in (found["note"], *found["warnings"]):
        if line:
            say(f"warning: {line}")
    if found["measures_differently"]:
        say("Runs with the two versions measure different things: compare them with care.")
    else:
        say("Principles and topics are the same: runs with the two versions can be compared.")


def _source(text: str) -> dict[str, str]:
    path = Path(text)
    if path.suffix or path.is_file():
        return {"document": read_text(path)}
    return {"run_id": text} if _RUN_ID.fullmatch(text) else {"id": text}


def prompts_list(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the packaged prompt sets."""
    _list("/prompt-sets", "prompt_sets", ("id", "version", "title", "sha256"), url, as_json)


def prompts_show(id_: IdArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Show a prompt set: its three stages, shots and begun answers."""
    _show(f"/prompt-sets/{id_}", url, as_json)


def studies_list(url: UrlOption = "", as_json: JsonOption = False) -> None:
    """List the shipped studies."""
    _list("/studies/shipped", "studies", ("id", "title"), url, as_json)


def studies_show(id_: IdArgument, url: UrlOption = "", as_json: JsonOption = False) -> None:
    """Print a shipped study as the YAML that `valign run` takes."""
    with connect(url) as api:
        text = shipped_study(api, id_)
    if as_json:
        print_json({"id": id_, "study": text})
    else:
        say(text, nl=False)


def _list(path: str, key: str, columns: tuple[str, ...], url: str, as_json: bool) -> None:
    with connect(url) as api:
        body = api.get(path)
    if as_json:
        print_json(body)
        return
    rows = [[_cell(row.get(name)) for name in columns] for row in body[key]]
    used = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    heads = [columns[number].replace("_", " ") for number in used]
    console().print(table("", heads, [[row[number] for number in used] for row in rows]))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(str(item) for item in value)
    return "" if value is None else str(value)


def _show(path: str, url: str, as_json: bool) -> None:
    with connect(url) as api:
        body: Any = api.get(path)
    if as_json:
        print_json(body)
        return
    import yaml

    say(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100), nl=False)
